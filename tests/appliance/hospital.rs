//! What the scenarios share: a hospital, two devices, an update server, and the configuration of the appliance.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use e2e::{
    Appliance, Archive, Archiving, Device, His, Images, Lab, Place, Process, Site, data_set, hl7,
};

/// The password of the console.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The world around an appliance.
pub(crate) struct Hospital<'a> {
    lab: &'a Lab,
    pub(crate) site: Site,
    pub(crate) his: His,
    archive: Archive,
    images: Images,
    sent: usize,
}

impl<'a> Hospital<'a> {
    pub(crate) fn open(lab: &'a Lab) -> Self {
        let site = Site::new(lab, &configuration());
        Self {
            his: His::start(lab),
            archive: Archive::start(lab, Archiving::Storescp),
            images: Images::make(lab),
            lab,
            site,
            sent: 0,
        }
    }

    /// What provisions the appliance: the configuration and its secrets in one file.
    pub(crate) fn provisioning(&self) -> String {
        let configuration = self.site.directory().join("lazaret.toml");
        let configuration = std::fs::read_to_string(configuration).unwrap();
        let key = std::fs::read_to_string(self.site.directory().join("wireguard.key")).unwrap();
        let root = std::fs::read_to_string(self.update_folder().join("root.pem")).unwrap();
        format!(
            "{configuration}\n[secrets]\nwireguard_private_key = \"{}\"\nadmin_password = \"{PASSWORD}\"\n\
             [secrets.files]\n\"hospital-root.pem\" = \"\"\"\n{root}\"\"\"\n",
            key.trim()
        )
    }

    /// Serves an update directory over HTTPS, under a certificate of the hospital.
    pub(crate) fn serve_updates(&self) -> UpdateServer {
        UpdateServer::start(self.lab, self.update_folder())
    }

    fn update_folder(&self) -> PathBuf {
        let folder = self.lab.folder("updates");
        if !folder.join("root.pem").exists() {
            certificates(&folder);
        }
        folder
    }

    /// An appliance with this image, provisioned by its hypervisor, switched on and in service.
    pub(crate) fn appliance(&self, version: &str) -> Appliance<'a> {
        let mut appliance = Appliance::new(self.lab, &image(version));
        appliance.credential("lazaret.config", &self.provisioning());
        appliance.power_on();
        in_service(&mut appliance, version);
        appliance
    }

    /// An HL7 message and an image go through the appliance, whole and unchanged; a forbidden message does not.
    pub(crate) fn work(&mut self) {
        let ecg = Device::connect(self.lab, &self.site, "ecg-0042", Place::Home1);
        let mut client = ecg.mllp(self.his.address());
        self.sent += 1;
        let message = hl7::oru(&format!("V{}", self.sent));
        assert_eq!(client.exchange(&message).code, "AA");
        assert!(
            self.his.wait_for(self.sent).contains(&message),
            "the message was changed"
        );
        let refused = String::from_utf8(message)
            .unwrap()
            .replace("ORU^R01^ORU_R01", "ADT^A01^ADT_A01");
        let answer = client.exchange(refused.as_bytes());
        assert_eq!(answer.code, "AR", "{}", answer.text);
        assert_eq!(self.his.received().len(), self.sent);

        let us = Device::connect(self.lab, &self.site, "us-07", Place::Home2);
        for stored in self.archive.stored() {
            std::fs::remove_file(stored).unwrap();
        }
        let image = self.images.path("us.dcm");
        let _ = us.storescu("US07", "PACS1", &[&image]).ok();
        let stored = self.archive.wait_for(1);
        assert!(!data_set(&stored[0]).is_empty());
    }
}

/// Waits until the appliance says on its console that it is in service, and that it is this version.
pub(crate) fn in_service(appliance: &mut Appliance<'_>, version: &str) {
    let said = appliance.wait_for("is in service");
    let line = said.lines().last().unwrap_or_default();
    assert!(line.contains(&format!("version {version} ")), "{line}");
}

/// Logs in where the key of the data was sealed: the first login shows it, until it is said to be written down.
pub(crate) fn first_log_in(appliance: &mut Appliance<'_>) {
    appliance.type_line("");
    let _ = appliance.wait_for("assword");
    appliance.type_line(PASSWORD);
    let _ = appliance.wait_for("type `written`");
    appliance.type_line("written");
    let _ = appliance.wait_for("not shown any more");
    let _ = appliance.wait_for("lazaret> ");
}

/// Serves a folder over HTTPS at the address of the HIS.
pub(crate) struct UpdateServer {
    folder: PathBuf,
    _process: Process,
}

impl UpdateServer {
    fn start(lab: &Lab, folder: PathBuf) -> Self {
        let served = folder.join("served");
        std::fs::create_dir_all(&served).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/updates.py");
        let path = folder.display().to_string();
        let line = ["/usr/bin/python3", script, "10.20.2.10", "8443", &path];
        let mut process = lab.start(Place::Hospital, "updates", &line);
        process.wait_for_listener(8443);
        Self {
            folder,
            _process: process,
        }
    }

    /// From now on serves the update to this version.
    pub(crate) fn offer(&self, version: &str) -> PathBuf {
        let served = self.folder.join("served");
        let _ = std::fs::remove_dir_all(&served);
        std::fs::create_dir_all(&served).unwrap();
        for entry in std::fs::read_dir(images().join(version).join("update")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), served.join(entry.file_name())).unwrap();
        }
        served
    }

    /// The next download of a large file breaks off after so many bytes, once.
    pub(crate) fn break_off(&self, after: u64) {
        std::fs::write(self.folder.join("break"), after.to_string()).unwrap();
    }

    /// The ranges that were asked for so far.
    pub(crate) fn ranges(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("ranges")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// The folder with a built image and its update for each version.
pub(crate) fn images() -> PathBuf {
    let folder =
        std::env::var_os("LAZARET_IMAGES").expect("LAZARET_IMAGES, which images/test sets");
    PathBuf::from(folder)
}

/// The disk image of a version.
pub(crate) fn image(version: &str) -> PathBuf {
    images().join(version).join("disk.raw")
}

/// The files of the update to a version, by name.
pub(crate) fn update(version: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(images().join(version).join("update")).unwrap();
    let entries = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    entries.collect()
}

/// Where a partition with this name begins and how long it is, in bytes, from the table itself.
pub(crate) fn partition(disk: &Path, label: &str) -> (u64, u64) {
    let mut table = vec![0; 34 * 512];
    File::open(disk).unwrap().read_exact(&mut table).unwrap();
    let entries = table[1024..].chunks(128);
    let name: Vec<u8> = label
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .chain([0, 0])
        .collect();
    let entry = entries
        .into_iter()
        .find(|entry| entry[56..].starts_with(&name))
        .expect("the partition");
    let number = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
    (number(32) * 512, (number(40) + 1 - number(32)) * 512)
}

/// The standard site on an appliance with two network cards.
fn configuration() -> String {
    let standard = include_str!("../sites/standard.toml");
    let standard = standard
        .lines()
        .filter(|line| !line.starts_with("state_dir") && !line.starts_with("runtime_dir"));
    let mut text = standard.collect::<Vec<_>>().join("\n");
    text.push_str(
        r#"
[appliance]
hospital_root = "hospital-root.pem"

[appliance.interface.wan0]
mac = "52:54:00:00:00:01"
addresses = ["198.51.100.202/26"]
gateway = ["198.51.100.193"]

[appliance.interface.lan0]
mac = "52:54:00:00:00:02"
addresses = ["10.20.0.1/16", "fd20::1/64"]

[appliance.update]
url = "https://10.20.2.10:8443/"
"#,
    );
    text
}

fn certificates(folder: &Path) {
    let script = "
        openssl req -x509 -newkey ed25519 -nodes -keyout root.key -out root.pem -days 3650 -subj '/CN=Hospital test root'
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr -subj '/CN=updates'
        printf 'subjectAltName=IP:10.20.2.10\\nextendedKeyUsage=serverAuth\\n' >server.ext
        openssl x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 365 -extfile server.ext -out server.pem
    ";
    let status = std::process::Command::new("sh")
        .args(["-euc", script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
}
