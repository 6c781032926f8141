//! Certificates that nobody knows, beside the keys that nobody knows.
//!
//! In: what the tunnel for certificates and the enrolment service were shown and did not believe. Out: lines of
//! `device list --unknown`, counted by source and key, bounded as all of them.

use std::net::IpAddr;

use super::supervisor::Supervisor;
use crate::pki::message::Fingerprint;
use crate::registry::known::Seen;
use crate::tunnel::message::Stranger;

impl Supervisor {
    /// The tunnel was shown these since it told last.
    pub(super) fn foreign_certificates(&mut self, all: &[Stranger]) {
        for one in all {
            self.foreign_certificate(one.source, Fingerprint(one.key), one.handshakes);
        }
    }

    /// Somebody showed a certificate that is not believed.
    pub(super) fn foreign_certificate(&mut self, source: IpAddr, key: Fingerprint, times: u64) {
        let (source, seen) = (source.to_canonical(), Seen::at(self.now(), times));
        let (source, key) = (source.to_string(), key.to_string());
        self.inventory
            .note_stranger("certificate", &source, &key, seen);
    }
}
