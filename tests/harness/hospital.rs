//! The servers of the hospital, none of them written for this project: an HL7 receiver on python-hl7,
//! DICOM archives of DCMTK and pynetdicom.
//!
//! In: an address. Out: exactly what arrived.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::dicom::{peer_program, peer_script};
use crate::lab::{HIS, Lab, PACS, Place};
use crate::process::Process;
use crate::wait;

/// The HL7 receiver; keeps the exact bytes of each message.
pub struct His {
    process: Process,
    folder: PathBuf,
    address: SocketAddr,
}

impl His {
    /// Starts it on its usual address and waits until it listens.
    pub fn start(lab: &Lab) -> Self {
        Self::start_at(lab, "his", (HIS, 2575).into())
    }

    /// Starts it elsewhere.
    pub fn start_at(lab: &Lab, name: &str, address: SocketAddr) -> Self {
        let folder = lab.folder(name);
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let (python, script) = (peer_program("python"), peer_script("his.py"));
        let record = folder.display().to_string();
        let line = [python.as_str(), &script, &host, &port, &record];
        let mut process = lab.start(Place::Hospital, name, &line);
        process.wait_for_listener(address.port());
        Self {
            process,
            folder,
            address,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does from the next message on: `AA`, `AE`, `AR`, `CA`, `hang`, `close`, `die`, `garbage`, `wrong-id`, `slow`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn behave(&self, mode: &str) {
        std::fs::write(self.folder.join("mode"), mode).unwrap();
    }

    /// The messages so far, in the order of their arrival, without framing.
    pub fn received(&self) -> Vec<Vec<u8>> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "hl7"))
            .collect();
        paths.sort();
        paths
            .iter()
            .map(|path| std::fs::read(path).unwrap_or_default())
            .collect()
    }

    /// Waits for so many messages; all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        wait::until(&format!("{count} messages at the HIS"), wait::SOON, || {
            Some(self.received()).filter(|received| received.len() >= count)
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A DICOM archive.
pub struct Archive {
    process: Process,
    folder: PathBuf,
}

/// Which program plays the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archiving {
    /// DCMTK `storescp`, which keeps data sets exactly as received.
    Storescp,
    /// DCMTK `dcmqrscp`: storage, C-FIND, C-MOVE, C-GET.
    Dcmqrscp,
    /// pynetdicom; keeps data sets as raw bytes and writes a line for everything it is asked.
    Pynetdicom,
}

impl Archive {
    /// Starts it on the usual address of the PACS, as `PACS1`.
    pub fn start(lab: &Lab, program: Archiving) -> Self {
        Self::start_at(lab, program, (PACS, 104).into())
    }

    /// Starts it elsewhere. DCMTK listens on all addresses of the hospital.
    pub fn start_at(lab: &Lab, program: Archiving, address: SocketAddr) -> Self {
        Self::start_in(lab, Place::Hospital, program, address)
    }

    /// Starts it at another place, as that of a device that receives.
    pub fn start_in(lab: &Lab, place: Place, program: Archiving, address: SocketAddr) -> Self {
        Self::begin(lab, place, program, address, ("10.20.0.1", 11207))
    }

    /// DCMTK `dcmqrscp` on the usual address, which moves images to `US07` at this address.
    pub fn start_moving_to(lab: &Lab, us07: (&str, u16)) -> Self {
        let usual = (PACS, 104).into();
        Self::begin(lab, Place::Hospital, Archiving::Dcmqrscp, usual, us07)
    }

    fn begin(
        lab: &Lab,
        place: Place,
        program: Archiving,
        address: SocketAddr,
        us07: (&str, u16),
    ) -> Self {
        let name = format!("{program:?}-{}-{}", place.name(), address.port()).to_lowercase();
        let folder = lab.folder(&name);
        let (path, port) = (folder.display().to_string(), address.port().to_string());
        let mut process = match program {
            Archiving::Storescp => {
                let line = [
                    "/usr/bin/storescp",
                    "-aet",
                    "PACS1",
                    "+B",
                    "+xa",
                    "-od",
                    &path,
                    &port,
                ];
                lab.start(place, &name, &line)
            }
            Archiving::Dcmqrscp => {
                let configuration = query_configuration(&folder, address.port(), us07);
                let line = ["/usr/bin/dcmqrscp", "-c", &configuration];
                lab.start(place, &name, &line)
            }
            Archiving::Pynetdicom => {
                let (python, script) = (peer_program("python"), peer_script("pacs.py"));
                let host = address.ip().to_string();
                let line = [python.as_str(), &script, &host, &port, &path];
                lab.start(place, &name, &line)
            }
        };
        process.wait_for_listener(address.port());
        Self { process, folder }
    }

    /// The stored objects so far, in the order of their names.
    pub fn stored(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        files(&self.folder, &mut paths);
        paths.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !matches!(
                name.as_ref(),
                "index.dat" | "dcmqrscp.cfg" | "asked" | "aborted"
            ) && !name.starts_with('.')
        });
        paths.sort();
        paths
    }

    /// Waits for so many objects; all of them.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for(&self, count: usize) -> Vec<PathBuf> {
        wait::until(
            &format!("{count} objects in the archive"),
            wait::SOON,
            || Some(self.stored()).filter(|stored| stored.len() >= count),
        )
    }

    /// What it was asked, one line each (pynetdicom only).
    pub fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Who aborted an association, one line each (pynetdicom only).
    pub fn aborted(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("aborted")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.join("asked"));
    }

    /// What it does from the next request on (pynetdicom only): `ok`, `hang`, `abort`, `refuse`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn behave(&self, mode: &str) {
        std::fs::write(self.folder.join(".mode"), mode).unwrap();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it without a word.
    pub fn kill9(&self) {
        self.process.signal(Signal::KILL);
    }
}

/// The configuration of `dcmqrscp`: one area, read and write, everybody may ask.
fn query_configuration(folder: &Path, port: u16, (host, at): (&str, u16)) -> String {
    let area = folder.join("db");
    std::fs::create_dir_all(&area).unwrap();
    let path = folder.join("dcmqrscp.cfg");
    let text = format!(
        "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
         HostTable BEGIN\nstore2 = (STORE2, 10.20.1.10, 11113)\nother = (OTHER, 10.20.1.10, 11113)\n\
         us07 = (US07, {host}, {at})\nHostTable END\nVendorTable BEGIN\nVendorTable END\n\
         AETable BEGIN\nPACS1 {} RW (200, 1024mb) ANY\nAETable END\n",
        area.display()
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn files(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, paths);
        } else {
            paths.push(path);
        }
    }
}
