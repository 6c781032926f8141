//! The machine of a clinician that enrols itself for a certificate and comes through the tunnel for certificates.
//!
//! In: a clinic whose site has that tunnel and the enrolment service. Out: keys and certificates in the machine's own
//! folder, a tunnel by a client that is not ours, connections through it.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::clinic::Clinic;
use crate::device::wan4;
use crate::dicom::{peer_program, peer_script};
use crate::gateway::{Gateway, Said, machine, text};
use crate::hl7::Client;
use crate::lab::{HIS, Lab, Place};
use crate::process::Process;
use crate::wait;

/// For a program of others to start, which takes its time on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "gateway.example.org";

/// A machine and its place.
pub struct Desk<'a> {
    lab: &'a Lab,
    place: Place,
    name: String,
}

impl<'a> Clinic<'a> {
    /// Opens with the tunnel for certificates, an authority and the enrolment service; `pki` is one more line for it.
    ///
    /// # Panics
    /// When the authority cannot be made.
    pub fn open_for_desks(lab: &'a Lab, pki: &str) -> Self {
        let outside = wan4().ip();
        let tables = format!(
            "[tunnel.quic]\nlisten = \"[::]:443\"\ninterface = \"lz-quic\"\nnetworks = [\"10.65.0.0/16\", \"fd65::/64\"]\n\
             [pki]\nserver_names = [\"{NAME}\", \"{outside}\"]\n{pki}\n\
             [enrol]\naddresses = [\"10.64.200.0/24\", \"10.65.200.0/24\"]\nlisten = \"{outside}:8443\"\n"
        );
        let clinic = Self::open_with(lab, |site| site.append(&tables));
        let ca = clinic.gateway.authority();
        std::fs::write(lab.folder("certificates").join("ca.pem"), ca).unwrap();
        clinic
    }
}

impl<'a> Desk<'a> {
    /// A machine that has nothing yet.
    pub fn new(lab: &'a Lab, place: Place, name: &str) -> Self {
        let name = name.to_owned();
        Self { lab, place, name }
    }

    /// Where it keeps its key.
    pub fn folder(&self) -> PathBuf {
        self.lab.folder(&format!("machine-{}", self.name))
    }

    /// Its key and its certificate, in one file.
    pub fn own(&self) -> PathBuf {
        self.folder().join("device.pem")
    }

    /// Enrols it by a token with its name, a role that may send results, and its sender.
    ///
    /// # Panics
    /// When it is refused.
    pub fn enrol(&self, gateway: &Gateway<'_>, sender: &str, more: &[&str]) -> Said {
        let line = "enroll token create --role ecg-home --device";
        let mut line: Vec<&str> = line.split(' ').collect();
        line.extend([self.name.as_str(), "--hl7-sender", sender]);
        line.extend(more);
        let made = gateway.json(&line);
        let url = format!("https://{}:8443", wan4().ip());
        let out = self.folder().display().to_string();
        let ca = self.lab.folder("certificates").join("ca.pem");
        let ca = ca.display().to_string();
        let request = ["enroll", "request", &url, text(&made, "token"), "--out"];
        // A token that was made at once after the authority does not know it.
        let line = [&request[..], &[&out, "--ca", &ca]].concat();
        let begun = Instant::now();
        loop {
            let said = machine(self.lab, self.place, &line);
            if said.code == 0 {
                return said;
            }
            // Whoever has just made an authority waits for the listener to show its certificate.
            let early = said.err.contains("cannot reach the gateway") && begun.elapsed() < PATIENCE;
            assert!(early, "{}", said.all());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Renews its certificate, if it is time.
    pub fn renew(&self, more: &[&str]) -> Said {
        let out = self.folder().display().to_string();
        let mut line = vec!["enroll", "renew", &out];
        line.extend(more);
        machine(self.lab, self.place, &line)
    }

    /// Starts a client that shows what is in a file: key and certificates.
    pub fn client(&self, label: &str, file: &str, more: &[&str]) -> Process {
        let mut command = self.lab.command(self.place, peer_program("python"));
        let server = SocketAddr::new(wan4().ip(), 443).to_string();
        let ca = self.lab.folder("certificates").join("ca.pem");
        command.arg(peer_script("connect_ip.py"));
        command.args(["--server", &server, "--name", NAME, "--ca"]);
        command.arg(ca).args(["--cert", file, "--key", file]);
        command.args(more);
        Process::start(
            &format!("{label}-{}", self.name),
            self.lab.directory(),
            command,
        )
    }

    /// A client with its own certificate and a TUN that has its addresses.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn connect(&self) -> Process {
        let own = self.own().display().to_string();
        let tunnel = self.client("tunnel", &own, &["--tun", "tq0"]);
        wait::for_true("a tunnel", PATIENCE, || tunnel.output().contains("up"));
        tunnel
    }

    /// A connection of the machine to the HIS: through its TUN, since no other way leads there.
    ///
    /// # Errors
    /// When there is none.
    pub fn mllp(&self) -> std::io::Result<Client> {
        let stream = self.lab.inside(self.place, || {
            TcpStream::connect_timeout(&(HIS, 2575).into(), wait::SOON)
        });
        stream.map(Client::new)
    }
}
