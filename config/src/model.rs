//! What a configuration says, after every check: the types that the gateway works with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::appliance::Appliance;
use crate::behaviour::Behaviour;
use crate::containment::{BreakGlass, Quarantine};
use crate::dicom::{DicomQuery, UserIdentity};
use crate::language::Language;
use crate::name::{DeviceName, ProfileName, RoleName, RuleName, ServiceName};
use crate::pki::Pki;
use crate::policy::Policy;
use crate::profile::{ProfileChoice, SiteProfile};
use crate::quic::Quic;
pub use crate::registry::{Database, DatabaseHost, Enrol, Server};
use crate::secret::Key;

/// A configuration that exists is right.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[gateway]`.
    pub gateway: Gateway,
    /// `patient_key_file` of `[gateway]` and the key in it, which a running gateway may change, unlike the rest of the table.
    pub patient_key: Option<PatientKey>,
    /// `[tunnel.wireguard]`.
    pub wireguard: WireGuard,
    /// `[tunnel.quic]`; `None` without a tunnel for certificates.
    pub quic: Option<Quic>,
    /// `[hospital]`.
    pub hospital: Hospital,
    /// `[service.NAME]`.
    pub services: BTreeMap<ServiceName, Service>,
    /// `[device.NAME]`.
    pub devices: BTreeMap<DeviceName, Device>,
    /// `[role.NAME]`, and every role that a device or rule names.
    pub roles: BTreeMap<RoleName, Role>,
    /// `[profile.NAME]`.
    pub profiles: BTreeMap<ProfileName, SiteProfile>,
    /// `[rule.NAME]`.
    pub rules: BTreeMap<RuleName, Rule>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[audit]`.
    pub audit: Audit,
    /// `[pki]`; `None` without a certification authority.
    pub pki: Option<Pki>,
    /// `[policy]`.
    pub policy: Policy,
    /// `[behaviour]`.
    pub behaviour: Behaviour,
    /// `[quarantine]`.
    pub quarantine: Quarantine,
    /// `[break_glass]`; `None`: nothing is opened beside the rules.
    pub break_glass: Option<BreakGlass>,
    /// `[registry]`.
    pub registry: Database,
    /// `[enrol]`.
    pub enrol: Enrol,
    /// `[appliance]`; `None` on a server that is looked after by somebody else.
    pub appliance: Option<Appliance>,
    /// `[[test]]`.
    pub tests: Vec<Test>,
    /// What would take long to search for; only the loader makes it, so only the loader makes a `Config`.
    pub(crate) index: crate::decide::Index,
}

/// Where something stands in the files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The line of the table's header, from 1.
    pub line: usize,
}

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// How this gateway is called in records.
    pub name: String,
    /// In which people are told why something is refused.
    pub language: Language,
    /// Registry, keys of the journal. Default `/var/lib/lazaret`.
    pub state_dir: PathBuf,
    /// Control socket. Default `/run/lazaret`.
    pub runtime_dir: PathBuf,
}

/// The key of the hashes by which patients are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatientKey {
    /// The file, resolved against the configuration directory; regular, not readable by others.
    pub file: PathBuf,
    /// What was in it when the configuration was read.
    pub key: Arc<Key>,
}

/// `[tunnel.wireguard]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireGuard {
    /// UDP address; `[::]` also receives IPv4.
    pub listen: SocketAddr,
    /// Name of the TUN interface and of the UAPI socket.
    pub interface: String,
    /// The file, resolved against the configuration directory; regular, not readable by others.
    pub private_key_file: PathBuf,
    /// The tunnel networks; devices have addresses in them.
    pub networks: Vec<IpNet>,
    /// The gateway's own address in each network (same order).
    /// Default: the last usable one for IPv4, `…::ffff` for IPv6 (the last if the network is smaller).
    pub addresses: Vec<IpAddr>,
    /// MTU of the TUN, 1280 to 65,455. Default 1420.
    pub mtu: u16,
    /// Whether segmentation offloads may be used. Default true.
    pub offload: bool,
}

/// `[hospital]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hospital {
    /// The interface to the hospital.
    pub interface: String,
    /// How devices appear there.
    pub mode: HospitalMode,
    /// The gateway's own addresses there, at most one of each family: with `snat` devices are dialled at them.
    pub addresses: Vec<IpAddr>,
}

/// How devices appear in the hospital.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HospitalMode {
    /// With the gateway's address.
    Snat,
    /// With their own.
    Routed,
}

/// `[service.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where it is written.
    pub origin: Origin,
    /// Its address.
    pub address: IpAddr,
    /// What it speaks.
    pub protocol: ServiceProtocol,
}

/// What a service speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceProtocol {
    /// HL7 v2 over MLLP, inspected.
    Hl7 {
        /// Release 2 of MLLP, with commit acknowledgements, and not release 1.
        mllp_release_2: bool,
        /// TCP port.
        port: u16,
        /// How strict; holds beside that of the rule. Without either it is `standard`.
        profile: Option<ProfileChoice>,
        /// Content verdicts only warn.
        shadow: bool,
    },
    /// DICOM, inspected.
    Dicom {
        /// TCP port.
        port: u16,
        /// The called AE title that devices must use; `None` accepts any.
        called_ae: Option<String>,
        /// How strict; holds beside that of the rule. Without either it is `standard`.
        profile: Option<ProfileChoice>,
        /// When bytes go on; rules may be stricter.
        release: Release,
        /// Content verdicts only warn.
        shadow: bool,
    },
    /// Anything else, forwarded by nftables without a look inside.
    Plain {
        /// `tcp/3389`, `udp/…`.
        ports: BTreeSet<Port>,
    },
}

/// How strict content is judged, without a table of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Refuses what is wrong beyond doubt.
    #[default]
    Standard,
    /// Refuses all that the standard refuses.
    Strict,
}

/// When the bytes of a message go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Release {
    /// When the whole message has its verdict.
    #[default]
    Verified,
    /// As they are verified, but for the last fragment: of C-STORE requests, which are large.
    Streaming,
}

/// A transport port, written `tcp/22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// TCP or UDP.
    pub transport: Transport,
    /// 1 to 65,535.
    pub number: u16,
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// `[device.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is written.
    pub origin: Origin,
    /// How it is identified.
    pub identity: Identity,
    /// Its tunnel addresses: at least one, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Networks behind it, if it is a router; only `via` devices may have addresses in them.
    pub networks: Vec<IpNet>,
    /// Its roles.
    pub roles: BTreeSet<RoleName>,
    /// MSH-3 and MSH-4 that are this device's own.
    pub hl7_senders: Vec<(String, String)>,
    /// The AE title that is this device's own.
    pub ae_title: Option<String>,
    /// Where it accepts associations.
    pub dicom_port: Option<u16>,
    /// The port of the gateway's address in the hospital at which services dial it; with `snat` only.
    pub hospital_port: Option<u16>,
    /// Patients that rules with `bind_patient` let it send for; `hmac:` values.
    pub patients: Vec<String>,
    /// Identifiers of its own, which OBX-18 and PRT-10 are compared with. Empty: any.
    pub device_ids: Vec<String>,
    /// Character set of HL7 messages that declare none. Default `ASCII`.
    pub default_charset: String,
}

/// How a device is identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// By its WireGuard key.
    WireGuard {
        /// The static public key.
        public_key: [u8; 32],
        /// Keys before it, which are taken too while it is changed; none of a device of the files.
        older_keys: Vec<[u8; 32]>,
        /// File with the preshared key, if any; resolved, 0600.
        preshared_key_file: Option<PathBuf>,
        /// Seconds between keepalives of the gateway; 0 is off, which is right for the hospital end.
        keepalive: u16,
        /// Where the peer is, if known beforehand.
        endpoint: Option<SocketAddr>,
    },
    /// By a certificate that the gateway's own authority issued to its name; it comes through the QUIC tunnel.
    Certificate,
    /// By its address only, behind a router.
    Via(DeviceName),
}

/// `[role.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// For people.
    pub description: String,
}

/// `[rule.NAME]`: who may reach what, and say what there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it is written.
    pub origin: Origin,
    /// Who opens connections by it.
    pub direction: Direction,
    /// The roles and devices at its outer end.
    pub parties: BTreeSet<Party>,
    /// The services at its inner end.
    pub services: BTreeSet<ServiceName>,
    /// What may be said to HL7 services.
    pub hl7: Option<Hl7Rule>,
    /// What may be done with DICOM services.
    pub dicom: Option<DicomRule>,
    /// How much.
    pub limit: Limit,
    /// How important.
    pub priority: Priority,
    /// How strict; both this and the service's hold, so the stricter counts.
    pub profile: Option<ProfileChoice>,
    /// When bytes go on; `None` is as the service says. Never less strict than that.
    pub release: Option<Release>,
    /// Content verdicts only warn.
    pub shadow: bool,
    /// Weekly hours; `None` is always.
    pub hours: Option<Hours>,
    /// Last day on which it holds (in the zone of `hours`, else UTC).
    pub until: Option<jiff::civil::Date>,
}

/// Who opens connections by a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Devices, to services.
    #[default]
    FromDevices,
    /// Services, to devices.
    ToDevices,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// `role:NAME`.
    Role(RoleName),
    /// `device:NAME`.
    Device(DeviceName),
}

/// `hl7 = { … }` of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hl7Rule {
    /// `ORU^R01`, `ORU^*`; at least one.
    pub send: BTreeSet<String>,
    /// What the destination may answer with besides acknowledgements: `RSP^K22`, `RSP^*`.
    pub receive: BTreeSet<String>,
    /// Allowed MSH-12; empty: any known.
    pub versions: BTreeSet<String>,
    /// MSH-3/4 must be the device's own. Default true.
    pub bind_sender: bool,
    /// Every patient of a message must be one of the device's. Default false.
    pub bind_patient: bool,
    /// How far MSH-7 may be from the present, in whole seconds; `None` refuses nothing.
    pub clock_window: Option<Duration>,
    /// Local (Z) segments and their longest in bytes; `None` lists none.
    pub local_segments: Option<BTreeMap<String, u64>>,
    /// Character sets that are carried although a delimiter can be part of a character in them. Default none.
    pub charsets: BTreeSet<String>,
    /// Whether another message under a used MSH-10 is refused. Default false: it is warned of.
    pub unique_ids: bool,
    /// Whether batches are carried. Default false.
    pub batches: bool,
    /// Documents inside of fields.
    pub embedded: Embedded,
}

/// `embedded = { … }` of `hl7` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// Kinds of documents that are carried, of [`crate::DOCUMENT_KINDS`]; empty: the harmless ones.
    pub kinds: BTreeSet<String>,
    /// Hosts to which a reference pointer may lead; empty: none.
    pub hosts: BTreeSet<String>,
}

/// `dicom = { … }` of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DicomRule {
    /// `C-ECHO`, `C-STORE`, …; at least one.
    pub allow: BTreeSet<String>,
    /// SOP classes as UIDs (the file may name them); empty: any.
    pub sop_classes: BTreeSet<String>,
    /// Transfer syntaxes as UIDs; empty: all that are carried.
    pub transfer_syntaxes: BTreeSet<String>,
    /// What (0008,0060) of instances must be; empty: anything.
    pub modalities: BTreeSet<String>,
    /// C-MOVE destinations; [`crate::OWN_TITLE`] is the device's own.
    pub move_destinations: BTreeSet<String>,
    /// The calling AE title must be the device's own. Default true.
    pub bind_sender: bool,
    /// Every patient of a data set must be one of the device's. Default false.
    pub bind_patient: bool,
    /// What queries must be like.
    pub query: DicomQuery,
    /// The device may be provider (SCP) of the SOP classes. Default false.
    pub reverse_roles: bool,
    /// What becomes of the user that a device identifies.
    pub user_identity: UserIdentity,
    /// Largest data set of an instance in bytes.
    pub max_object: Option<u64>,
    /// Private creators whose elements are carried; `None`: all.
    pub private_creators: Option<BTreeSet<String>>,
    /// Kinds of documents that are carried, of [`crate::DOCUMENT_KINDS`]; empty: the harmless ones.
    pub documents: BTreeSet<String>,
}

/// `limit = { … }` of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Messages in a period, `2/s`, `100/min`, `500/h`.
    pub messages: Option<(u32, Duration)>,
    /// Messages that may come at once. Default: the number of `messages`.
    pub burst: Option<u32>,
    /// Connections at once of one device.
    pub connections: Option<u32>,
    /// Longest message in bytes; the smaller of this and `[limits]` holds.
    pub message_size: Option<u64>,
    /// Of a forwarded service: for how long nothing may pass before the session is ended.
    pub idle: Option<Duration>,
    /// Of a forwarded service: how long a session may last.
    pub longest: Option<Duration>,
}

/// How important a rule's traffic is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Images and archives.
    Bulk,
    /// Everything else.
    #[default]
    Normal,
    /// Goes on without a journal, is delayed and never refused by limits.
    Critical,
}

/// `hours = "mon-fri 07:00-20:00 Europe/Paris"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    /// As written.
    pub text: String,
    /// Days on which a window begins.
    pub days: BTreeSet<Day>,
    /// Begin, included.
    pub from: jiff::civil::Time,
    /// End, excluded; before `from` it is on the next day.
    pub to: jiff::civil::Time,
    /// The zone.
    pub zone: jiff::tz::TimeZone,
}
impl Eq for Hours {}

/// A day of the week, Monday first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// `[limits]`: every bound, with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest HL7 message in bytes. Default 4 MiB.
    pub hl7_message: u64,
    /// Most segments of an HL7 message. Default 10,000.
    pub hl7_segments: u64,
    /// Largest document inside of an HL7 field, decoded.
    pub hl7_embedded: u64,
    /// Most messages of an HL7 batch.
    pub hl7_batch_messages: u64,
    /// Largest DICOM data set in bytes. Default 4 GiB.
    pub dicom_dataset: u64,
    /// Deepest nesting of DICOM sequences, 1 to 256. Default 64.
    pub dicom_depth: u64,
    /// Most elements of a DICOM data set. Default 2,000,000.
    pub dicom_elements: u64,
    /// How many times larger than what was received a deflated data set may become, once it is larger than 1 MiB.
    /// Default 200.
    pub dicom_inflate_ratio: u64,
    /// Most frames in an offset table of encapsulated pixel data. Default 262,144.
    pub dicom_offsets: u64,
    /// Largest XML document inside of a data set. Default 4 MiB.
    pub dicom_markup: u64,
    /// Largest DICOM PDU in bytes, 4 KiB to 1 MiB. Default 128 KiB.
    pub dicom_pdu: u64,
    /// Bytes of one DICOM message held in memory before the spool. Default 4 MiB.
    pub dicom_memory: u64,
    /// Bytes of spool files at once. Default 8 GiB.
    pub spool: u64,
    /// Inspected connections at once. Default 4,096.
    pub connections: u64,
    /// Inspected connections at once that one device opens. Default 32.
    pub connections_per_device: u64,
    /// Inspected connections at once that services open to one device. Default 32.
    pub connections_to_device: u64,
    /// Inspected connections at once that services open to all devices together. Default half of `connections`.
    pub connections_to_devices: u64,
    /// Connections at once that one device has to forwarded services. Default 256.
    pub flows_per_device: u64,
    /// Relay processes of each protocol. `None`: as many as the machine has processors, at most 8.
    pub relay_workers: Option<u64>,
    /// From the first byte of a frame or PDU to its last. Default 30 s.
    pub receive_timeout: Duration,
    /// For a destination to accept. Default 10 s.
    pub connect_timeout: Duration,
    /// For a destination to answer one message. Default 30 s.
    pub answer_timeout: Duration,
    /// Without any byte. Default 1 h.
    pub idle_timeout: Duration,
    /// For a peer to take what we write. Default 30 s.
    pub send_timeout: Duration,
    /// For storage commitment and performed procedure steps to end. Default 7 d.
    pub transaction_timeout: Duration,
}

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Where the journal is. Default `STATE_DIR/audit`.
    pub directory: PathBuf,
    /// A file is rotated at this size in bytes. Default 64 MiB.
    pub rotate_size: u64,
    /// When records reach the disk.
    pub sync: Sync,
    /// Rotated files to keep; 0 keeps all. Default 0.
    pub keep: u32,
    /// Whether rules that are not `critical` stop while the journal cannot be written. Default true.
    pub required: bool,
}

/// When records reach the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// Together with others that came meanwhile, before the next batch (group commit).
    #[default]
    Batch,
    /// Every second.
    Second,
}

/// `[[test]]`: what must and must not be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Where it is written.
    pub origin: Origin,
    /// Who.
    pub from: Sender,
    /// What must be allowed.
    pub allow: Vec<Target>,
    /// What must be denied.
    pub deny: Vec<Target>,
}

/// What a test or `explain` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `his-results` (any message at all), `his-results#ORU^R01`, `pacs#C-STORE`, `console:tcp/22`.
    Service {
        /// The service.
        service: ServiceName,
        /// After `#`: a message type or a DIMSE service.
        message: Option<String>,
        /// After `:`: a port.
        port: Option<Port>,
    },
    /// `device:NAME`, `device:NAME#C-STORE`: a device, which devices never reach and services by rule.
    Device {
        /// Which.
        device: DeviceName,
        /// After `#`: a DIMSE service.
        message: Option<String>,
    },
}

/// Who asks: of a test and of `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// `role:NAME`, `device:NAME`.
    Party(Party),
    /// The name of a service.
    Service(ServiceName),
}
