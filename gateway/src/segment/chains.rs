//! The shape of the table: which chain asks what, in which order.
//!
//! In: devices and what each party may reach. Out: the [`Table`].
//! Pure. Knows nothing of rules, hours or standing beyond active and quarantined; a device in quarantine to which
//! something is left is in the sets of that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lazaret_config::{HospitalMode, Party, Transport};

use super::crowd;
use super::doors::{self, Door};
use super::frame::Frame;
use super::resets;
use crate::flow::{DeviceName, Standing};
use crate::segment::plan::{Endpoint, Grants, Inward, Knock, Member, Treatment, party_name};
use crate::segment::table::{
    Base, Chain, Family, Hook, Kind, Policy, Rule, Set, State, Table, Term, Why,
};

/// The mark of connections that a relay opens with a device's address.
pub(super) const UPSTREAM_CT_MARK: u32 = 0x5500_0001;
/// The mark of the sockets of such connections.
pub(super) const UPSTREAM_MARK: u32 = 0x5500_0002;
/// The mark of packets that answer them; routing delivers those to this host.
pub(super) const REPLY_MARK: u32 = 0x5500_0003;

pub(super) fn build(
    frame: &Frame,
    devices: &BTreeMap<DeviceName, Member>,
    grants: &BTreeMap<Party, Grants>,
    inward: &BTreeMap<Knock, Inward>,
) -> Table {
    let parts = parts(devices, grants);
    let doors = doors::doors(inward);
    let mut sets = Vec::new();
    for family in FAMILIES {
        let with = |filter: fn(&Member) -> bool| {
            (devices.values())
                .filter(move |member| filter(member))
                .flat_map(|member| member.addresses.iter().copied())
                .filter(|address| Family::of(*address) == family)
                .collect()
        };
        sets.push(set(quarantine(family), family, with(is_shut_out)));
        sets.push(set(active(family), family, with(Member::lives)));
        sets.push(resets::answered(family));
    }
    let mut chains = Vec::new();
    for family in FAMILIES {
        let forwards = |part: &Part| part.family == family && !part.forwarded.is_empty();
        if parts.iter().any(forwards) {
            sets.push(crowd::counts(family));
            chains.push(crowd::gate(family, frame.flows_per_device));
        }
    }
    for part in &parts {
        sets.push(set(part.set(), part.family, part.members.clone()));
        chains.extend(part.forward_chain());
        chains.extend(part.steer_chain());
    }
    for door in &doors {
        sets.push(set(door.set(), door.family, door.devices.clone()));
    }
    chains.extend(doors::knocks(inward));
    chains.push(guard(frame));
    chains.push(steer(frame, &parts, inward));
    chains.push(input(frame, &parts, inward, &doors));
    chains.push(forward(frame, &parts));
    chains.push(output(frame, &parts, &doors));
    if frame.mode == HospitalMode::Snat {
        chains.push(postrouting(frame));
    }
    Table { sets, chains }
}

/// In quarantine, and nothing is left to it.
fn is_shut_out(member: &Member) -> bool {
    member.standing == Standing::Quarantined && !member.lives()
}

/// What the members of a party may reach in one family.
struct Part {
    name: String,
    family: Family,
    members: BTreeSet<IpAddr>,
    forwarded: Vec<Endpoint>,
    steered: Vec<(SocketAddr, SocketAddr, u32)>,
}

/// One part for each party and family in which it has members and may reach something.
fn parts(devices: &BTreeMap<DeviceName, Member>, grants: &BTreeMap<Party, Grants>) -> Vec<Part> {
    let mut members: BTreeMap<(&Party, Family), BTreeSet<IpAddr>> = BTreeMap::new();
    for member in devices.values().filter(|member| member.lives()) {
        for party in &member.parties {
            for address in &member.addresses {
                let key = (party, Family::of(*address));
                members.entry(key).or_default().insert(*address);
            }
        }
    }
    let mut parts = Vec::new();
    for ((party, family), members) in members {
        let mut part = Part {
            name: party_name(party),
            family,
            members,
            forwarded: Vec::new(),
            steered: Vec::new(),
        };
        let of_family = |endpoint: &Endpoint| Family::of(endpoint.address.ip()) == family;
        for (endpoint, grant) in grants.get(party).into_iter().flatten() {
            match grant.treatment {
                _ if !of_family(endpoint) => {}
                Treatment::Forwarded => part.forwarded.push(*endpoint),
                Treatment::Steered { listener, mark } => {
                    part.steered.push((endpoint.address, listener, mark));
                }
            }
        }
        if !part.forwarded.is_empty() || !part.steered.is_empty() {
            parts.push(part);
        }
    }
    parts
}

impl Part {
    fn set(&self) -> String {
        format!("{}/{}", self.name, self.family.suffix())
    }

    fn source(&self) -> Term {
        Term::SourceIn(self.family, self.set())
    }

    fn forward_name(&self) -> String {
        format!("forward/{}", self.set())
    }

    fn steer_name(&self) -> String {
        format!("steer/{}", self.set())
    }

    fn forward_chain(&self) -> Option<Chain> {
        let rules: Vec<Rule> = (self.forwarded.iter())
            .map(|to| {
                Rule(vec![
                    Term::Destination(to.address.ip()),
                    Term::Port(to.transport, to.address.port()),
                    Term::Count,
                    Term::SetCtMark(crowd::FORWARDED_MARK),
                    Term::Jump(crowd::gate_name(self.family)),
                ])
            })
            .collect();
        (!rules.is_empty()).then(|| chain(self.forward_name(), rules))
    }

    fn steer_chain(&self) -> Option<Chain> {
        let rules: Vec<Rule> = (self.steered.iter())
            .map(|(service, listener, mark)| {
                Rule(vec![
                    Term::Destination(service.ip()),
                    Term::Port(Transport::Tcp, service.port()),
                    Term::Count,
                    Term::SetCtMark(*mark),
                    Term::Dnat(*listener),
                ])
            })
            .collect();
        (!rules.is_empty()).then(|| chain(self.steer_name(), rules))
    }
}

/// Before everything: quarantine, and addresses that cannot be where they come from.
fn guard(frame: &Frame) -> Chain {
    let mut rules = Vec::new();
    //= C5: from the other tunnel, too.
    for tunnel in &frame.tunnels {
        for net in &tunnel.networks {
            rules.push(Rule(vec![
                Term::NotFrom(tunnel.interface.clone()),
                Term::NotFrom("lo".to_owned()),
                Term::SourceNet(*net),
                Term::Count,
                Term::Log(Why::Spoofed),
                Term::Drop,
            ]));
        }
    }
    // Before quarantine, whose connections are cut too.
    rules.extend(resets::ended(frame));
    rules.extend(quarantined(&[Term::SourceIn, Term::DestinationIn]));
    if frame.mode == HospitalMode::Routed {
        rules.push(Rule(vec![
            Term::From(frame.hospital.clone()),
            Term::CtMark(UPSTREAM_CT_MARK),
            Term::SetMark(REPLY_MARK),
        ]));
    }
    for from in frame.from() {
        for family in FAMILIES {
            rules.push(Rule(vec![
                from.clone(),
                Term::SourceIn(family, active(family)),
                Term::Accept,
            ]));
        }
        rules.push(refuse(vec![from], Some(Why::Unknown)));
    }
    base(
        "guard",
        Kind::Filter,
        Hook::Prerouting,
        -150,
        Policy::Accept,
        rules,
    )
}

/// Hands the first packet of an inspected connection to the listener.
fn steer(frame: &Frame, parts: &[Part], inward: &BTreeMap<Knock, Inward>) -> Chain {
    let outward = (parts.iter())
        .filter(|part| !part.steered.is_empty())
        .flat_map(|part| {
            (frame.from())
                .map(|from| Rule(vec![from, part.source(), Term::Jump(part.steer_name())]))
        });
    let rules = outward.chain(doors::jumps(frame, inward)).collect();
    base(
        "steer",
        Kind::Nat,
        Hook::Prerouting,
        -100,
        Policy::Accept,
        rules,
    )
}

/// What may reach the gateway: the tunnel itself, steered connections, a ping, and answers from the hospital.
fn input(frame: &Frame, parts: &[Part], inward: &BTreeMap<Knock, Inward>, doors: &[Door]) -> Chain {
    let mut rules = quarantined(&[Term::SourceIn]);
    rules.push(Rule(vec![Term::From("lo".to_owned()), Term::Accept]));
    for tunnel in &frame.tunnels {
        let mut terms = frame.not_from();
        terms.extend([Term::Port(Transport::Udp, tunnel.udp_port), Term::Accept]);
        rules.push(Rule(terms));
    }
    rules.extend(
        frame
            .enrol
            .map(|listen| super::enrolment::comes_to(frame, listen)),
    );
    for part in parts {
        //= C9: by role and mark, so that nobody can dial the listener and losing the role ends the flow.
        let ends: BTreeSet<(SocketAddr, u32)> = (part.steered.iter())
            .map(|(_, listener, mark)| (*listener, *mark))
            .collect();
        for (listener, mark) in ends {
            rules.extend(frame.from().map(|from| {
                Rule(vec![
                    from,
                    part.source(),
                    Term::Destination(listener.ip()),
                    Term::Port(Transport::Tcp, listener.port()),
                    Term::CtMark(mark),
                    Term::Accept,
                ])
            }));
        }
    }
    rules.extend(doors::accepted(frame, inward));
    rules.extend(doors.iter().flat_map(|door| door.answers(frame)));
    rules.extend(pings_and_errors(frame));
    rules.extend(neighbours(&frame.not_from(), &ND_IN));
    rules.push(Rule(vec![
        Term::From(frame.hospital.clone()),
        Term::State(State::EstablishedRelated),
        Term::Accept,
    ]));
    for family in FAMILIES {
        let mut terms = frame.not_from();
        terms.extend([
            Term::State(State::Related),
            Term::Icmp(family),
            Term::Accept,
        ]);
        rules.push(Rule(terms));
    }
    let errands = frame.errands.iter();
    rules.extend(errands.map(|errand| errand.hears(frame.not_from())));
    rules.extend(
        frame
            .from()
            .map(|from| refuse(vec![from], Some(Why::Gateway))),
    );
    rules.extend(doors::told(frame, inward));
    rules.push(refuse(vec![], None));
    base("input", Kind::Filter, Hook::Input, 0, Policy::Drop, rules)
}

/// What active devices may send to the gateway itself.
fn pings_and_errors(frame: &Frame) -> Vec<Rule> {
    let mut rules = Vec::new();
    for address in &frame.gateway {
        let family = Family::of(*address);
        rules.extend(frame.from().map(|from| {
            Rule(vec![
                from,
                Term::SourceIn(family, active(family)),
                Term::Destination(*address),
                Term::IcmpType(family, echo_request(family)),
                Term::Accept,
            ])
        }));
    }
    for family in FAMILIES {
        rules.extend(frame.from().map(|from| {
            Rule(vec![
                from,
                Term::SourceIn(family, active(family)),
                Term::State(State::Related),
                Term::Icmp(family),
                Term::Accept,
            ])
        }));
    }
    rules
}

/// What may pass: answers to active devices, and packet by packet what a role allows.
fn forward(frame: &Frame, parts: &[Part]) -> Chain {
    // For each tunnel.
    let out = |more: &[Term]| -> Vec<Rule> {
        let hospital = Term::Towards(frame.hospital.clone());
        let begin = frame.from().map(|from| vec![from, hospital.clone()]);
        begin.map(|begin| Rule([&begin, more].concat())).collect()
    };
    let mut rules = quarantined(&[Term::SourceIn, Term::DestinationIn]);
    // A flow that was cut would otherwise still speak one way, without translation of its addresses.
    rules.push(refuse(vec![Term::State(State::Invalid)], None));
    for family in FAMILIES {
        rules.extend(frame.towards().map(|towards| {
            Rule(vec![
                Term::From(frame.hospital.clone()),
                towards,
                Term::DestinationIn(family, active(family)),
                Term::State(State::EstablishedRelated),
                Term::Accept,
            ])
        }));
    }
    for part in parts.iter().filter(|part| !part.forwarded.is_empty()) {
        rules.extend(out(&[part.source(), Term::Jump(part.forward_name())]));
    }
    for family in FAMILIES {
        let errors = [
            Term::SourceIn(family, active(family)),
            Term::State(State::Related),
            Term::Icmp(family),
            Term::Accept,
        ];
        rules.extend(out(&errors));
    }
    for family in FAMILIES {
        rules.extend(frame.from().map(|from| {
            let known = Term::SourceIn(family, active(family));
            resets::denied(family, vec![from, known])
        }));
    }
    rules.push(refuse(vec![], Some(Why::Denied)));
    base(
        "forward",
        Kind::Filter,
        Hook::Forward,
        0,
        Policy::Drop,
        rules,
    )
}

/// What the gateway itself may say.
fn output(frame: &Frame, parts: &[Part], doors: &[Door]) -> Chain {
    let mut rules = resets::goes_out(frame);
    rules.extend(quarantined(&[Term::DestinationIn]));
    rules.push(Rule(vec![Term::Towards("lo".to_owned()), Term::Accept]));
    for family in FAMILIES {
        rules.extend(frame.towards().map(|towards| {
            Rule(vec![
                towards,
                Term::DestinationIn(family, active(family)),
                Term::State(State::EstablishedRelated),
                Term::Accept,
            ])
        }));
    }
    rules.extend(doors.iter().flat_map(|door| door.dials(frame)));
    for tunnel in &frame.tunnels {
        let mut terms = frame.not_towards();
        let port = Term::SourcePort(Transport::Udp, tunnel.udp_port);
        terms.extend([port, Term::Accept]);
        rules.push(Rule(terms));
    }
    rules.extend(
        frame
            .enrol
            .map(|listen| super::enrolment::goes_from(frame, listen)),
    );
    rules.push(Rule(vec![
        Term::Towards(frame.hospital.clone()),
        Term::State(State::EstablishedRelated),
        Term::Accept,
    ]));
    let services: BTreeSet<SocketAddr> = (parts.iter())
        .flat_map(|part| part.steered.iter().map(|(service, ..)| *service))
        .collect();
    for service in services {
        let to = |more: &[Term]| {
            let mut terms = vec![
                Term::Towards(frame.hospital.clone()),
                Term::Destination(service.ip()),
                Term::Port(Transport::Tcp, service.port()),
                Term::State(State::New),
            ];
            terms.extend_from_slice(more);
            Rule(terms)
        };
        if frame.mode == HospitalMode::Routed {
            rules.push(to(&[
                Term::Mark(UPSTREAM_MARK),
                Term::SetCtMark(UPSTREAM_CT_MARK),
            ]));
        }
        rules.push(to(&[Term::Count, Term::Accept]));
    }
    let errands = frame.errands.iter();
    rules.extend(errands.map(|errand| errand.asks(frame.not_towards())));
    rules.extend(neighbours(&frame.not_towards(), &ND_OUT));
    rules.push(refuse(vec![], None));
    base("output", Kind::Filter, Hook::Output, 0, Policy::Drop, rules)
}

/// Devices appear in the hospital with the gateway's address.
fn postrouting(frame: &Frame) -> Chain {
    let rules = FAMILIES
        .map(|family| {
            Rule(vec![
                Term::Towards(frame.hospital.clone()),
                Term::SourceIn(family, active(family)),
                Term::Masquerade,
            ])
        })
        .to_vec();
    base(
        "postrouting",
        Kind::Nat,
        Hook::Postrouting,
        100,
        Policy::Accept,
        rules,
    )
}

/// Drops what comes from or goes to a device in quarantine.
fn quarantined(ends: &[fn(Family, String) -> Term]) -> Vec<Rule> {
    (FAMILIES.iter())
        .flat_map(|family| {
            ends.iter()
                .map(move |end| end(*family, quarantine(*family)))
        })
        .map(|term| refuse(vec![term], Some(Why::Quarantine)))
        .collect()
}

/// Neighbour discovery, without which IPv6 does not live on a link.
fn neighbours(link: &[Term], types: &[u8]) -> Vec<Rule> {
    let rule = |kind: &u8| {
        let end = [Term::IcmpType(Family::V6, *kind), Term::Accept];
        Rule([link, &end].concat())
    };
    types.iter().map(rule).collect()
}

pub(super) fn refuse(mut terms: Vec<Term>, why: Option<Why>) -> Rule {
    terms.push(Term::Count);
    terms.extend(why.map(Term::Log));
    terms.push(Term::Drop);
    Rule(terms)
}

fn set(name: String, family: Family, elements: BTreeSet<IpAddr>) -> Set {
    Set {
        name,
        family,
        elements,
        counts: false,
    }
}

pub(super) fn chain(name: String, rules: Vec<Rule>) -> Chain {
    Chain {
        name,
        base: None,
        rules,
    }
}

fn base(
    name: &str,
    kind: Kind,
    hook: Hook,
    priority: i32,
    policy: Policy,
    rules: Vec<Rule>,
) -> Chain {
    Chain {
        name: name.to_owned(),
        base: Some(Base {
            kind,
            hook,
            priority,
            policy,
        }),
        rules,
    }
}

/// The set of devices in quarantine.
pub(super) fn quarantine(family: Family) -> String {
    format!("quarantine/{}", family.suffix())
}

/// The set of devices that may do something.
fn active(family: Family) -> String {
    format!("active/{}", family.suffix())
}

fn echo_request(family: Family) -> u8 {
    match family {
        Family::V4 => 8,
        Family::V6 => 128,
    }
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Listener query, router advertisement, neighbour solicitation and advertisement.
const ND_IN: [u8; 4] = [130, 134, 135, 136];
/// Router solicitation, neighbour solicitation and advertisement, listener report version 2.
const ND_OUT: [u8; 4] = [133, 135, 136, 143];
