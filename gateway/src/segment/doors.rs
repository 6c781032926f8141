//! The part of the table by which services in the hospital dial devices: whom they call, and how the gateway goes on.
//!
//! In: what may be dialled. Out: sets, chains and rules.
//! Pure. A connection of a service ends at the gateway; the gateway itself dials the device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lazaret_config::{HospitalMode, Transport};

use crate::segment::chains::{chain, refuse};
use crate::segment::frame::Frame;
use crate::segment::plan::{Inward, Knock};
use crate::segment::table::{Chain, Family, Rule, State, Term, Why};

/// The mark of connections that the gateway opens to devices.
pub(super) const DIAL_CT_MARK: u32 = 0x5500_0004;

/// The devices that accept at one port, in one family.
pub(super) struct Door {
    pub port: u16,
    pub family: Family,
    pub devices: BTreeSet<IpAddr>,
}

/// All of them.
pub(super) fn doors(inward: &BTreeMap<Knock, Inward>) -> Vec<Door> {
    let mut by: BTreeMap<(u16, Family), BTreeSet<IpAddr>> = BTreeMap::new();
    for to in inward.values().map(|inward| inward.accepts) {
        let devices = by.entry((to.port(), Family::of(to.ip()))).or_default();
        devices.insert(to.ip());
    }
    by.into_iter()
        .map(|((port, family), devices)| Door {
            port,
            family,
            devices,
        })
        .collect()
}

impl Door {
    pub(super) fn set(&self) -> String {
        format!("dial/{}/{}", self.port, self.family.suffix())
    }

    /// The gateway dials.
    pub(super) fn dials(&self, frame: &Frame) -> impl Iterator<Item = Rule> {
        frame.towards().map(|towards| {
            Rule(vec![
                towards,
                Term::DestinationIn(self.family, self.set()),
                Term::Port(Transport::Tcp, self.port),
                Term::State(State::New),
                Term::Count,
                Term::SetCtMark(DIAL_CT_MARK),
                Term::Accept,
            ])
        })
    }

    /// The device answers.
    //= C9: by set and mark, so that losing the rule ends the flow.
    pub(super) fn answers(&self, frame: &Frame) -> impl Iterator<Item = Rule> {
        frame.from().map(|from| {
            Rule(vec![
                from,
                Term::SourceIn(self.family, self.set()),
                Term::SourcePort(Transport::Tcp, self.port),
                Term::CtMark(DIAL_CT_MARK),
                Term::State(State::EstablishedRelated),
                Term::Accept,
            ])
        })
    }
}

/// One chain for each address from which services dial: what they may dial.
pub(super) fn knocks(inward: &BTreeMap<Knock, Inward>) -> Vec<Chain> {
    let mut by: BTreeMap<IpAddr, Vec<Rule>> = BTreeMap::new();
    for (knock, inward) in inward {
        by.entry(knock.from).or_default().push(Rule(vec![
            Term::Destination(knock.dialled.ip()),
            Term::Port(Transport::Tcp, knock.dialled.port()),
            Term::Count,
            Term::SetCtMark(inward.mark),
            Term::Dnat(inward.listener),
        ]));
    }
    by.into_iter()
        .map(|(from, rules)| chain(name(from), rules))
        .collect()
}

/// The first packet of a service's connection.
pub(super) fn jumps(frame: &Frame, inward: &BTreeMap<Knock, Inward>) -> Vec<Rule> {
    let callers: BTreeSet<IpAddr> = inward.keys().map(|knock| knock.from).collect();
    (callers.into_iter())
        .map(|from| {
            Rule(vec![
                Term::From(frame.hospital.clone()),
                Term::Source(from),
                Term::Jump(name(from)),
            ])
        })
        .collect()
}

/// It is accepted at the listener, by the service's own address and mark, so that nobody can dial the listener.
pub(super) fn accepted(frame: &Frame, inward: &BTreeMap<Knock, Inward>) -> Vec<Rule> {
    let ends: BTreeSet<(IpAddr, SocketAddr, u32)> = (inward.iter())
        .map(|(knock, inward)| (knock.from, inward.listener, inward.mark))
        .collect();
    (ends.into_iter())
        .map(|(from, listener, mark)| {
            Rule(vec![
                Term::From(frame.hospital.clone()),
                Term::Source(from),
                Term::Destination(listener.ip()),
                Term::Port(Transport::Tcp, listener.port()),
                Term::CtMark(mark),
                Term::Accept,
            ])
        })
        .collect()
}

/// Whoever else dials what a service may is told of.
pub(super) fn told(frame: &Frame, inward: &BTreeMap<Knock, Inward>) -> Vec<Rule> {
    // With `routed` the forward chain tells of it.
    if frame.mode == HospitalMode::Routed {
        return Vec::new();
    }
    let dialled: BTreeSet<SocketAddr> = inward.keys().map(|knock| knock.dialled).collect();
    (dialled.into_iter())
        .map(|to| {
            let terms = vec![
                Term::From(frame.hospital.clone()),
                Term::Destination(to.ip()),
                Term::Port(Transport::Tcp, to.port()),
            ];
            refuse(terms, Some(Why::Denied))
        })
        .collect()
}

/// Names hold colons and points as well as any other character.
fn name(from: IpAddr) -> String {
    format!("knock/{from}")
}
