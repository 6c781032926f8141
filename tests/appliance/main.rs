//! The appliance as a hospital runs it: built images in virtual machines, between real devices and real servers.
//!
//! Needs the images that `images/test` builds (`LAZARET_IMAGES`) and QEMU; every boot takes a minute or two.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "scenarios fail by panicking and print what they measured"
)]

mod hospital;
mod damage;
mod first_boot;
mod life;
mod power;
mod rescue;
mod sealed;
mod stick;
