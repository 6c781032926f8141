//! One file per table: its keys, and what each of them reads.

pub(crate) mod appliance;
pub(crate) mod audit;
pub(crate) mod behaviour;
pub(crate) mod containment;
pub(crate) mod device;
pub(crate) mod dicom;
pub(crate) mod enrol;
pub(crate) mod gateway;
pub(crate) mod hospital;
pub(crate) mod limits;
pub(crate) mod pki;
pub(crate) mod policy;
pub(crate) mod profile;
pub(crate) mod registry;
pub(crate) mod role;
pub(crate) mod rule;
pub(crate) mod secrets;
pub(crate) mod service;
pub(crate) mod test;
pub(crate) mod quic;
pub(crate) mod wireguard;
