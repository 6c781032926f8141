//! An authority of the gateway's own kind, for as many devices as are wanted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lazaret::channel::{self, Channel};
use lazaret::flow::Clock;
use lazaret::pki::message::{
    Answer, Der, FromSigner, Listener, Question, ServerIdentity, Settings, ToSigner, Trust, Way,
};
use lazaret::pki::{self, pem};
use tokio::runtime::Runtime;

/// What the gateway's certificate calls it.
pub(crate) const NAME: &str = "gateway.example.org";

pub(crate) struct Real;
impl Clock for Real {
    fn now(&self) -> std::time::Instant {
        std::time::Instant::now()
    }
    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }
}

/// The signer in a thread of this process, and what it made.
pub(crate) struct Authority {
    pub(crate) signer: Channel<ToSigner, FromSigner>,
    /// The certificate of the authority, as PEM.
    pub(crate) ca: String,
    pub(crate) server: ServerIdentity,
    pub(crate) trust: Trust,
}

/// A certificate and its key, both DER.
pub(crate) struct Issued {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(folder: &Path, runtime: &Runtime) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let signer = Channel::new(theirs).unwrap();
                pki::worker::run(signer, Arc::new(Real)).await
            })
        });
        let signer = {
            let _inside = runtime.enter();
            Channel::<ToSigner, FromSigner>::new(ours).unwrap()
        };
        let server_names = vec![lazaret_config::ServerName::Dns(NAME.to_owned())];
        let settings = Settings {
            gateway: "bench".to_owned(),
            directory: folder.join("pki"),
            pki: lazaret_config::Pki {
                server_names,
                ..lazaret_config::Pki::default()
            },
        };
        runtime
            .block_on(signer.send(&ToSigner::Start(settings), &[]))
            .unwrap();
        let first = runtime.block_on(signer.receive()).unwrap().0;
        assert!(matches!(first, FromSigner::Ready));
        let made = ask(
            runtime,
            &signer,
            Question::NewAuthority {
                rotate: false,
                way: Way::Root,
                overlap: None,
            },
        );
        let Answer::Status(status) = made else {
            panic!("no authority");
        };
        let question = Question::Server {
            listener: Listener::Quic,
            renew: false,
        };
        let Answer::Server(server) = ask(runtime, &signer, question) else {
            panic!("no server");
        };
        let Answer::Trust(trust) = ask(runtime, &signer, Question::Trust) else {
            panic!("no trust");
        };
        Self {
            ca: status.authorities[0].certificate.clone(),
            server,
            trust,
            signer,
        }
    }

    pub(crate) fn issue(&self, runtime: &Runtime, device: &str) -> Issued {
        let pair = rcgen::KeyPair::generate().unwrap();
        let mut asked = rcgen::CertificateParams::default();
        asked.distinguished_name = rcgen::DistinguishedName::new();
        let request = asked.serialize_request(&pair).unwrap().der().to_vec();
        let question = Question::Issue {
            request: Der(request),
            device: device.parse().unwrap(),
            lifetime: None,
        };
        let Answer::Issued(issued) = ask(runtime, &self.signer, question) else {
            panic!("no certificate");
        };
        Issued {
            certificate: issued.certificate.0,
            key: pair.serialize_der(),
        }
    }

    /// What `lazaret connect` reads, in a folder of its own.
    pub(crate) fn file(&self, folder: &Path, issued: &Issued, more: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let write = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt;
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let _ = write("ca.pem", &self.ca);
        let _ = write(
            "desk.pem",
            &pem::encode(pem::CERTIFICATE, &issued.certificate),
        );
        let _ = write("desk.key", &pem::encode("PRIVATE KEY", &issued.key));
        let text = format!(
            "schema = 1\nname = \"{NAME}\"\nca = \"ca.pem\"\ncertificate = \"desk.pem\"\nkey = \"desk.key\"\n{more}\n"
        );
        write("clinic.toml", &text)
    }
}

fn ask(runtime: &Runtime, signer: &Channel<ToSigner, FromSigner>, question: Question) -> Answer {
    runtime.block_on(async {
        let message = ToSigner::Ask {
            request: 1,
            question,
        };
        signer.send(&message, &[]).await.unwrap();
        let FromSigner::Answer { answer, .. } = signer.receive().await.unwrap().0 else {
            panic!("no answer");
        };
        answer.unwrap()
    })
}
