//! DICOM for test peers: synthetic images and the programs that send them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::device::Device;
use crate::lab::{Lab, PACS, Place};
use crate::process::Output;

/// Synthetic images, made by `tests/peers/images.py`.
pub struct Images {
    folder: PathBuf,
}

impl Images {
    /// Makes them.
    pub fn make(lab: &Lab) -> Self {
        let folder = lab.folder("images");
        let (python, script) = (peer_program("python"), peer_script("images.py"));
        let path = folder.display().to_string();
        let _ = lab.output(Place::Home2, &[&python, &script, &path]).ok();
        Self { folder }
    }

    /// `us.dcm`, `us-implicit.dcm`, `us-medium.dcm` (5 MiB), `us-large.dcm` (16 MiB), `ct.dcm`, `mr.dcm`, ….
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Device<'_> {
    /// DCMTK `echoscu` to the PACS.
    pub fn echoscu(&self, calling: &str, called: &str) -> Output {
        self.dcmtk("echoscu", calling, called, &[])
    }

    /// DCMTK `storescu` to the PACS.
    pub fn storescu(&self, calling: &str, called: &str, files: &[&str]) -> Output {
        // +IR/-R: propose exactly the contexts of the files.
        let mut more = vec!["-R"];
        more.extend(files);
        self.dcmtk("storescu", calling, called, &more)
    }

    /// DCMTK `findscu` to the PACS, at study level.
    pub fn findscu(&self, calling: &str, called: &str, keys: &[&str]) -> Output {
        let mut more = vec!["-S", "-k", "QueryRetrieveLevel=STUDY"];
        for key in keys {
            more.extend(["-k", key]);
        }
        self.dcmtk("findscu", calling, called, &more)
    }

    /// DCMTK `movescu` to the PACS, at study level.
    pub fn movescu(&self, calling: &str, called: &str, destination: &str, study: &str) -> Output {
        let study = format!("StudyInstanceUID={study}");
        let keys = [
            "-S",
            "-aem",
            destination,
            "-k",
            "QueryRetrieveLevel=STUDY",
            "-k",
            &study,
        ];
        self.dcmtk("movescu", calling, called, &keys)
    }

    /// DCMTK `getscu` from the PACS, at study level; images go to a folder.
    pub fn getscu(&self, calling: &str, called: &str, folder: &Path, study: &str) -> Output {
        let study = format!("StudyInstanceUID={study}");
        let folder = folder.display().to_string();
        let keys = [
            "-S",
            "-od",
            &folder,
            "-k",
            "QueryRetrieveLevel=STUDY",
            "-k",
            &study,
        ];
        self.dcmtk("getscu", calling, called, &keys)
    }

    /// A pynetdicom peer that breaks one thing: `tests/peers/modality.py SCRIPT CALLING CALLED FILE`.
    pub fn modality(&self, script: &str, calling: &str, called: &str, file: &str) -> Output {
        let (python, program) = (peer_program("python"), peer_script("modality.py"));
        let (host, port) = (PACS.to_string(), "104");
        self.run(&[
            &python, &program, &host, port, script, calling, called, file,
        ])
    }

    fn dcmtk(&self, program: &str, calling: &str, called: &str, more: &[&str]) -> Output {
        let to: SocketAddr = (PACS, 104).into();
        let (program, host, port) = (
            format!("/usr/bin/{program}"),
            to.ip().to_string(),
            to.port().to_string(),
        );
        let mut line = vec![
            program.as_str(),
            "-v",
            "-aet",
            calling,
            "-aec",
            called,
            "-ta",
            "20",
            "-td",
            "20",
            &host,
            &port,
        ];
        line.splice(
            1..1,
            more.iter()
                .take_while(|word| !word.ends_with(".dcm"))
                .copied(),
        );
        line.extend(more.iter().skip_while(|word| !word.ends_with(".dcm")));
        self.run(&line)
    }
}

/// The data set of a Part 10 file, without preamble and file meta information.
///
/// # Panics
/// When the file is not one.
//= DICOM PS3.10 7.1
pub fn data_set(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(
        bytes.get(128..132),
        Some(b"DICM".as_slice()),
        "{}",
        path.display()
    );
    // (0002,0000) UL 4: the length of the rest of the group.
    let length = bytes
        .get(140..144)
        .unwrap()
        .try_into()
        .map(u32::from_le_bytes)
        .unwrap();
    bytes
        .get(144 + usize::try_from(length).unwrap()..)
        .unwrap()
        .to_vec()
}

/// A program in the folder of the Python peers. Absolute: it also has a `storescu` of its own.
pub fn peer_program(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/bin");
    let program = Path::new(folder).join(name);
    assert!(
        program.exists(),
        "{} is missing: run tests/setup",
        program.display()
    );
    program.display().to_string()
}

/// A script of ours that drives a Python peer.
pub fn peer_script(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");
    Path::new(folder).join(name).display().to_string()
}
