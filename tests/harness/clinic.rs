//! The usual beginning of a scenario: the standard site, a running gateway, a HIS and one ECG at home.

use crate::device::Device;
use crate::gateway::Gateway;
use crate::hospital::His;
use crate::lab::{Lab, Place};
use crate::site::Site;

/// Everything that an HL7 scenario needs.
pub struct Clinic<'a> {
    /// The world.
    pub lab: &'a Lab,
    /// The configuration.
    pub site: Site,
    /// The gateway under test.
    pub gateway: Gateway<'a>,
    /// The HL7 receiver.
    pub his: His,
    /// The device `ecg-0042` in the first home.
    pub ecg: Device<'a>,
}

impl<'a> Clinic<'a> {
    /// Opens with the standard site.
    pub fn open(lab: &'a Lab) -> Self {
        Self::open_with(lab, |_| ())
    }

    /// Opens with a changed site.
    pub fn open_with(lab: &'a Lab, change: impl FnOnce(&Site)) -> Self {
        let site = Site::standard(lab);
        change(&site);
        let his = His::start(lab);
        let gateway = Gateway::start(lab, &site);
        let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        Self {
            lab,
            site,
            gateway,
            his,
            ecg,
        }
    }

    /// Opens with 256 KiB of disk for the journal.
    ///
    /// # Panics
    /// When the disk cannot be mounted.
    pub fn open_with_little_room(lab: &'a Lab) -> Self {
        Self::open_with(lab, |site| {
            let folder = site.state().join("audit");
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.display().to_string();
            let mounted = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "lab", &path])
                .status();
            assert!(mounted.unwrap().success());
        })
    }

    /// A second ECG, `ecg-0043` in the second home, that must never be harmed by what the first one does.
    pub fn bystander(&self) -> Device<'a> {
        Device::connect(self.lab, &self.site, "ecg-0043", Place::Home2)
    }
}
