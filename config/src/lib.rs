//! The configuration of a Lazaret gateway.
//!
//! In: `lazaret.toml` and `conf.d/*.toml`. Out: a [`Config`] that is right, or errors with file, line, column and caret.
//! Knows nothing of what a running gateway does with it.

mod source;
mod document;
mod section;
mod field;
mod table;
mod check;
mod load;
mod name;
mod model;
mod appliance;
mod pki;
mod quic;
mod policy;
mod behaviour;
mod proposal;
mod registry;
mod enrolled;
mod dicom;
mod profile;
mod decide;
mod access;
mod containment;
mod client;
mod inward;
mod language;
mod explain;
mod secret;
mod certificate;
mod import;
mod word;
mod problem;
mod error;
mod excerpt;
mod suggest;

pub use access::{Access, Lapsed, Overdue};
pub use appliance::{
    Addressing, Appliance, ApplianceInterface, InterfaceMatch, TimeServer, Update,
};
pub use behaviour::{Behaviour, Deviation, Reaction, Whom};
pub use certificate::{CertificateError, certificates, read_certificates, read_own_certificates};
pub use client::{Client, Forward, Gateway as ClientGateway};
pub use containment::{
    BreakGlass, Exception, NoException, Quarantine, contained_party, exception_name,
    exception_number,
};
pub use dicom::{DicomLevel, DicomProfile, DicomQuery, OWN_TITLE, UserIdentity};
pub use enrolled::{Admission, Contradiction, Credential, Enrolled, InvalidValue};
pub use error::{ConfigError, ConfigErrors, Remark, Spot};
pub use explain::{Explanation, TestFailure};
pub use field::document::DOCUMENT_KINDS;
pub use field::net::InvalidPort;
pub use field::party::{InvalidParty, InvalidTarget};
pub use import::{ImportFile, Secrets, check_password};
pub use inward::{Entrance, Inward, Why};
pub use language::Language;
pub use model::*;
pub use name::{DeviceName, ProfileName, RoleName, RuleName, ServiceName};
pub use pki::{KeyAlgorithm, Pkcs11, Pki, ServerName, SocketFamily};
pub use policy::Policy;
pub use profile::{
    ContentLevel, Decimal, FieldPath, MessageProfile, Observation, ProfileChoice, Severity,
    SiteProfile, profile_from_file,
};
pub use proposal::{Habit, Proposal, Seen, propose};
pub use quic::{PostQuantum, Quic};
pub use secret::{Hidden, Key, KeyFileError, read_key, read_password};
pub use source::{Source, language, patient_key_file, runtime_dir, sources, state_dir};
pub use word::Word;
