//! `[service.NAME]`: something in the hospital that devices may reach.

use crate::field::dicom::AeTitle;
use crate::field::net::ServiceAddress;
use crate::model::{Origin, Port, Release, Service, ServiceProtocol, Transport};
use crate::problem::{At, Fault, Place};
use crate::profile::ProfileChoice;
use crate::section::{Keys, Section, Text, not_carried, word};

pub(crate) const KEYS: Keys = Keys {
    table: "[service.NAME]",
    known: &[
        "address",
        "protocol",
        "ports",
        "profile",
        "called_ae",
        "shadow",
        "mllp",
        "release",
    ],
    later: &[
        (
            "mode",
            "the sender gets the destination's own answer, which is mode `pass`",
        ),
        ("tls", "the hospital side is spoken to without TLS"),
    ],
};

/// The table as it is written.
pub(crate) struct RawService {
    pub(crate) header: Place,
    pub(crate) address: Option<At<ServiceAddress>>,
    /// `None` if it is missing, which means plain, or wrong.
    protocol: Option<Protocol>,
    /// Whether anything is wrong with the protocol or the ports.
    pub(crate) unclear: bool,
    pub(crate) ports: Vec<At<Port>>,
    pub(crate) profile: Option<At<ProfileChoice>>,
    called_ae: Option<String>,
    /// Whether the key is there, right or wrong.
    pub(crate) has_title: bool,
    shadow: bool,
    mllp: u64,
    pub(crate) release: Release,
}

/// The protocols that are inspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Hl7,
    Dicom,
}

impl Text for Protocol {
    const WHAT: &'static str = "`hl7` or `dicom`";
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "fhir" | "dicomweb" | "https" | "http" => Err(not_carried(
                text,
                "`hl7` and `dicom` are inspected; anything else has `ports` and is forwarded without a look inside",
            )),
            text => word(text, &[("hl7", Self::Hl7), ("dicom", Self::Dicom)]),
        }
    }
}

pub(crate) fn read(section: &Section<'_>) -> RawService {
    let protocol = section.optional::<Protocol>("protocol").map(|at| at.value);
    let service = RawService {
        header: section.header,
        address: section.required("address"),
        protocol,
        unclear: section.has("protocol") && protocol.is_none(),
        ports: section.list("ports", "it needs at least one, such as `tcp/22`"),
        profile: section.optional("profile"),
        has_title: section.has("called_ae"),
        called_ae: section
            .optional::<AeTitle>("called_ae")
            .map(|at| at.value.0),
        shadow: section.or("shadow", false),
        mllp: section.within("mllp", 1..=2).unwrap_or(1),
        release: section.or("release", Release::Verified),
    };
    RawService {
        unclear: service.unclear || !is_consistent(section, &service),
        ..service
    }
}

/// Whether the keys fit each other; says what does not.
fn is_consistent(section: &Section<'_>, service: &RawService) -> bool {
    let before = section.problems().count();
    let with_port = service
        .address
        .as_ref()
        .map(|at| matches!(at.value, ServiceAddress::WithPort(_)));
    match (service.protocol, with_port) {
        (Some(_), Some(false)) => section.report(
            "address",
            Fault::new("the port is missing").help("an inspected service has one: \"10.20.2.10:2575\""),
        ),
        (None, Some(true)) => section.report(
            "address",
            Fault::new("an address with a port needs a `protocol`").help(
                "add `protocol = \"hl7\"` or `\"dicom\"` to have it inspected, or move the port to `ports = [\"tcp/…\"]` to have it forwarded",
            ),
        ),
        (None, Some(false)) if !section.has("ports") => section.report(
            "address",
            Fault::new(format!("neither `protocol` nor `ports` in {}", section.title))
                .help("`ports` is a list, such as `[\"tcp/22\"]`"),
        ),
        (Some(_) | None, Some(_) | None) => {}
    }
    let misplaced = |key: &str, message: &str| {
        if section.has(key) {
            let place = section.place_of_key(key).unwrap_or(section.header);
            section.problems().report(Fault::new(message).at(place));
        }
    };
    match service.protocol {
        Some(protocol) => {
            misplaced("ports", "an inspected service has its port in `address`");
            if protocol == Protocol::Hl7 {
                misplaced("called_ae", "`called_ae` is for DICOM services");
                misplaced(
                    "release",
                    "`release` is for DICOM services: HL7 messages are held until their verdict",
                );
            } else {
                misplaced("mllp", "`mllp` is for HL7 services");
            }
        }
        None => {
            for key in ["called_ae", "profile", "shadow", "mllp", "release"] {
                misplaced(key, &format!("`{key}` is for inspected services"));
            }
        }
    }
    section.problems().count() == before
}

impl RawService {
    /// The protocol, if the service is inspected.
    pub(crate) fn inspected(&self) -> Option<Protocol> {
        self.protocol
    }

    /// The ports on which it is reached, and where they are written.
    pub(crate) fn endpoints(&self) -> Vec<At<Port>> {
        match &self.address {
            Some(At {
                place,
                value: ServiceAddress::WithPort(socket),
            }) => vec![At {
                place: *place,
                value: Port {
                    transport: Transport::Tcp,
                    number: socket.port(),
                },
            }],
            Some(_) | None => self.ports.clone(),
        }
    }

    /// `None` only if a problem was reported.
    pub(crate) fn into_model(self, origin: Origin) -> Option<Service> {
        let profile = self.profile.map(|at| at.value);
        let protocol = match (self.protocol, self.address.as_ref()?.value) {
            (Some(Protocol::Hl7), ServiceAddress::WithPort(socket)) => ServiceProtocol::Hl7 {
                mllp_release_2: self.mllp == 2,
                port: socket.port(),
                profile,
                shadow: self.shadow,
            },
            (Some(Protocol::Dicom), ServiceAddress::WithPort(socket)) => ServiceProtocol::Dicom {
                port: socket.port(),
                called_ae: self.called_ae,
                profile,
                release: self.release,
                shadow: self.shadow,
            },
            (None, ServiceAddress::Alone(_)) => ServiceProtocol::Plain {
                ports: self.ports.iter().map(|at| at.value).collect(),
            },
            (Some(_), ServiceAddress::Alone(_)) | (None, ServiceAddress::WithPort(_)) => {
                return None;
            }
        };
        Some(Service {
            origin,
            address: self.address?.value.ip(),
            protocol,
        })
    }
}

impl ServiceAddress {
    /// The address alone.
    pub(crate) fn ip(self) -> std::net::IpAddr {
        match self {
            Self::WithPort(socket) => socket.ip(),
            Self::Alone(address) => address,
        }
    }
}
