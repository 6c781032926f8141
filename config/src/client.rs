//! The file of a client, `lazaret connect FILE`: where the gateway is, who we are, and what is wanted of it.
//!
//! In: a file. Out: a [`Client`] that is right, or errors with line and column like those of a gateway.
//! Reads neither certificates nor keys; paths are relative to the file.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::document;
use crate::error::ConfigErrors;
use crate::field::basic::FilePath;
use crate::field::net::Interface;
use crate::language::Language;
use crate::name::ServiceName;
use crate::pki::ServerName;
use crate::problem::{At, Fault, Place, Problems};
use crate::section::{Keys, Section, Text, word};
use crate::source::{Source, read};

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the gateway is.
    pub gateway: Gateway,
    /// What its certificate calls it.
    pub name: ServerName,
    /// Certificates of the authorities that it is checked with, in PEM.
    pub ca: PathBuf,
    /// Our own certificate and those above it, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM; the same file, if that has both.
    pub key: PathBuf,
    /// Whether there is no tunnel without a key exchange that a quantum computer cannot undo.
    pub post_quantum_required: bool,
    /// The name of an interface of our own; without, only forwards.
    pub interface: Option<String>,
    /// Where routes of the interface may lead to; nothing: what the gateway says, within reason.
    pub networks: Option<Vec<IpNet>>,
    /// Local ports.
    pub forwards: Vec<Forward>,
    /// In which the user is told what happens; without, that of the system.
    pub language: Option<Language>,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// A name, or an address.
    pub host: ServerName,
    /// 443 where the file says none.
    pub port: u16,
}

/// A local port that leads to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Where programs connect to.
    pub listen: SocketAddr,
    /// As the gateway calls it.
    pub service: ServiceName,
    /// For a service with several.
    pub port: Option<u16>,
}

/// Most local ports of a client.
const MOST_FORWARDS: usize = 64;

impl Client {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::from_source(read(path).map_err(ConfigErrors::all)?)
    }

    /// Reads a text that came from a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_source(source: Source) -> Result<Self, ConfigErrors> {
        let problems = Problems::default();
        let mut client = None;
        document::parse(0, &source, &problems, |root| {
            let top = Place {
                file: 0,
                start: 0,
                end: 0,
            };
            let title = "the file of a client".to_owned();
            let section = Section::new(title, top, root, &KEYS, &problems);
            client = read_client(&section);
        });
        let folder = source.path.parent().map(Path::to_owned);
        match (problems.into_errors(&[source]), client) {
            (None, Some(client)) => Ok(client.below(&folder.unwrap_or_default())),
            (errors, _) => Err(errors.unwrap_or_else(|| {
                ConfigErrors::without_place("the file of a client is not complete".to_owned())
            })),
        }
    }

    fn below(mut self, folder: &Path) -> Self {
        for path in [&mut self.ca, &mut self.certificate, &mut self.key] {
            *path = folder.join(&path);
        }
        self
    }
}

impl std::str::FromStr for Forward {
    type Err = String;

    /// As in the file: `127.0.0.1:11112=pacs` or `127.0.0.1:3389=console:3389`.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|fault| match fault.help {
            Some(help) => format!("{}: {help}", fault.message),
            None => fault.message,
        })
    }
}

const KEYS: Keys = Keys {
    table: "the file of a client",
    known: &[
        "schema",
        "gateway",
        "name",
        "ca",
        "certificate",
        "key",
        "post_quantum",
        "interface",
        "networks",
        "forward",
        "language",
    ],
    later: &[],
};

fn read_client(section: &Section<'_>) -> Option<Client> {
    match section.required::<i64>("schema") {
        Some(schema) if schema.value != 1 => {
            section.report("schema", Fault::new("this version reads `schema = 1`"));
        }
        Some(_) | None => {}
    }
    let gateway = section.required::<Gateway>("gateway");
    let name = section.optional::<ServerName>("name");
    let path = |key| section.required::<FilePath>(key);
    let (ca, certificate) = (path("ca"), path("certificate"));
    let key = section.optional::<FilePath>("key");
    let required = section.or("post_quantum", Wanted(false)).0;
    let interface = section.optional::<Interface>("interface");
    let networks = section.list_or_empty::<IpNet>("networks");
    let forwards = section.list_or_empty::<Forward>("forward");
    check_forwards(section, &forwards);
    let language = section.optional::<Language>("language");
    let (gateway, certificate) = (gateway?.value, certificate?.value.0);
    Some(Client {
        name: name.map_or_else(|| gateway.host.clone(), |name| name.value),
        gateway,
        ca: ca?.value.0,
        key: key.map_or_else(|| certificate.clone(), |key| key.value.0),
        certificate,
        post_quantum_required: required,
        interface: interface.map(|interface| interface.value.0),
        networks: section
            .has("networks")
            .then(|| networks.into_iter().map(|at| at.value).collect()),
        forwards: forwards.into_iter().map(|at| at.value).collect(),
        language: language.map(|at| at.value),
    })
}

fn check_forwards(section: &Section<'_>, forwards: &[At<Forward>]) {
    if section.has("interface") && !forwards.is_empty() {
        let fault = Fault::new("an interface leads to all services: there is nothing to forward");
        section.report("forward", fault.help("leave out `interface` or `forward`"));
    }
    if section.has("networks") && !section.has("interface") {
        let fault = Fault::new("without an interface there are no routes to limit");
        section.report("networks", fault.help("`forward` reaches services alone"));
    }
    if section.length_of("forward") > MOST_FORWARDS {
        let fault = Fault::new(format!("there are more than {MOST_FORWARDS} local ports"));
        section.report("forward", fault);
    }
    for (number, forward) in forwards.iter().enumerate() {
        let before = forwards.iter().take(number);
        let mut same = before.filter(|other| other.value.listen == forward.value.listen);
        if let Some(other) = same.next() {
            let fault = Fault::new("the local port is taken");
            let problem = fault.at(forward.place).also(other.place, "by this one");
            section.problems().report(problem);
        }
    }
}

impl Text for Gateway {
    const WHAT: &'static str = "a host like \"gateway.example.org\" or \"gateway.example.org:443\"";

    fn parse(text: &str) -> Result<Self, Fault> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            let host = ServerName::Address(socket.ip());
            return with_port(host, socket.port());
        }
        if text.parse::<IpAddr>().is_ok() {
            return with_port(ServerName::parse(text)?, HTTPS);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, "443"));
        let wrong = |_| Fault::new(format!("not {}", Self::WHAT));
        let port = port.parse().map_err(|_| wrong(()))?;
        with_port(ServerName::parse(host)?, port)
    }
}

const HTTPS: u16 = 443;

fn with_port(host: ServerName, port: u16) -> Result<Gateway, Fault> {
    if port == 0 {
        return Err(Fault::new("the port must be 1 to 65535"));
    }
    Ok(Gateway { host, port })
}

impl Text for Forward {
    const WHAT: &'static str = "a local port and a service like \"127.0.0.1:11112=pacs\"";

    fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::new(format!("not {}", Self::WHAT));
        let (listen, target) = text.split_once('=').ok_or_else(wrong)?;
        let listen = SocketAddr::parse(listen)?;
        if !listen.ip().is_loopback() {
            return Err(
                Fault::new("others could use the service through this machine")
                    .help("listen on an address of this machine alone, such as 127.0.0.1"),
            );
        }
        let (service, port) = match target.split_once(':') {
            Some((service, port)) => (service, Some(port)),
            None => (target, None),
        };
        let service = ServiceName::parse(service)?;
        let port = port.map(|port| match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(Fault::new("the port must be 1 to 65535")),
        });
        Ok(Self {
            listen,
            service,
            port: port.transpose()?,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Wanted(bool);

impl Text for Wanted {
    const WHAT: &'static str = "\"preferred\" or \"required\"";

    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &[("preferred", false), ("required", true)]).map(Self)
    }
}
