//! The two ends of transactions that outlive an association: a PACS that dials back, a device that accepts.
//!
//! In: addresses. Out: what each end was asked, line by line. The program is `tests/peers/partner.py`.

use std::path::PathBuf;

use crate::dicom::{peer_program, peer_script};
use crate::lab::{Lab, Place};
use crate::process::{Output, Process};
use crate::wait;

/// One end that accepts.
pub struct Partner {
    _process: Process,
    folder: PathBuf,
}

impl Partner {
    /// A device that accepts as `US07`.
    pub fn device(lab: &Lab, place: Place, port: u16) -> Self {
        let name = format!("accepts-{}", place.name());
        Self::start(lab, place, &name, port, |folder| {
            vec!["device".to_owned(), port.to_string(), folder]
        })
    }

    /// The PACS on its usual address, which brings results to where it dials the device.
    pub fn pacs(lab: &Lab, (host, port): (&str, u16)) -> Self {
        Self::start(lab, Place::Hospital, "partner", 104, |folder| {
            let words = [
                "pacs",
                "10.20.1.10",
                "104",
                &folder,
                host,
                &port.to_string(),
            ];
            words.map(str::to_owned).to_vec()
        })
    }

    fn start(
        lab: &Lab,
        place: Place,
        name: &str,
        port: u16,
        words: impl FnOnce(String) -> Vec<String>,
    ) -> Self {
        let folder = lab.folder(name);
        let words = words(folder.display().to_string());
        let (python, script) = (peer_program("python"), peer_script("partner.py"));
        let mut line = vec![python.as_str(), &script];
        line.extend(words.iter().map(String::as_str));
        let mut process = lab.start(place, name, &line);
        process.wait_for_listener(port);
        Self {
            _process: process,
            folder,
        }
    }

    /// How a PACS brings results from now on.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn behave(&self, mode: &str) {
        std::fs::write(self.folder.join(".mode"), mode).unwrap();
    }

    /// What it was asked, one line each.
    pub fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a line that begins so, and forgets all lines.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn wait_for(&self, beginning: &str) -> String {
        let found = wait::until(&format!("a line {beginning}"), wait::SOON, || {
            let lines = self.asked().into_iter();
            lines.rev().find(|line| line.starts_with(beginning))
        });
        self.forget();
        found
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.join("asked"));
    }
}

/// A call out of the hospital, from one of its addresses: `echo`, `store`, `report`, as `partner.py` says.
pub fn hospital_calls(
    lab: &Lab,
    from: &str,
    (calling, called): (&str, &str),
    (host, port): (&str, u16),
    what: &[&str],
) -> Output {
    let (python, script) = (peer_program("python"), peer_script("partner.py"));
    let port = port.to_string();
    let mut line = vec![
        python.as_str(),
        &script,
        "call",
        from,
        calling,
        called,
        host,
        &port,
    ];
    line.extend(what);
    lab.output(Place::Hospital, &line)
}

/// Lets everything that leaves the hospital for a network come from one address.
pub fn hospital_speaks_from(lab: &Lab, network: &str, via: Option<&str>, from: &str) {
    let mut line = vec!["ip", "route", "replace", network];
    line.extend(via.iter().flat_map(|via| ["via", via]));
    line.extend(["dev", "eth0", "src", from]);
    let _ = lab.output(Place::Hospital, &line).ok();
}
