//! The house: supervisor, workers, reload, shutdown.
//!
//! The supervisor decides who may connect where; it never reads a payload.

mod asked;
mod behaviour;
mod break_glass;
mod clock;
mod confine;
mod connections;
mod credit;
mod deal;
mod denied;
mod devices;
mod drain;
mod enforce;
mod enrolment;
mod enrolment_listener;
mod error;
mod events;
mod foreign;
mod ground;
mod intake;
mod inventory;
mod keystore;
mod life;
mod logging;
mod memories;
mod notify;
mod operator;
mod operator_tokens;
mod outbox;
mod policy;
mod presence;
mod told;
mod privileges;
mod probe;
mod quic;
mod registry;
mod registry_watch;
mod reload;
mod sessions;
mod shadow;
mod consoles;
mod crowded;
mod console_watch;
mod signing;
mod supervisor;
mod transactions;
mod worker;

pub use clock::SystemClock;
pub use error::DaemonError;
pub use policy::{
    Chosen, History, Listed, NAMESPACE, ProposalError, SignatureError, StoreError, choose,
    statement,
};
pub use reload::{Checked, ReloadError, check, check_sources};
pub use shadow::in_shadow;
pub use supervisor::run;
pub use worker::{WorkerError, run as worker};
