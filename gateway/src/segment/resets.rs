//! Tells both ends of a connection that was cut, so that neither waits for the other, and devices what they may not.
//!
//! In: what was alive, what was cut. Out: rules that answer with a reset of TCP, and packets that make an end speak.
//! Decides nothing about who may what: what is answered here was dropped already, and no payload of it passes.
//!
//! A reset counts only with the numbers that the end expects, and those the gateway does not know. So it opens the
//! connection anew in the opposite end's name: an end that believes it alive answers with its numbers, as RFC 9293
//! (3.5.1) has it, and the table resets it by that. The connection that was begun so is marked, and nothing but
//! resets ever goes on it. After two seconds it is forgotten, and what still comes is dropped in silence.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lazaret_config::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use super::changes::Cut;
use super::conntrack;
use super::flows::{self, Flow, FlowState};
use super::frame::Frame;
use super::table::{Family, Rule, Set, State, Term, Why};

/// The two ends of a connection that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    device: SocketAddr,
    service: SocketAddr,
    /// The device, in the eyes of the service; `None` if a relay has the service's end.
    seen: Option<SocketAddr>,
}

/// Those of `forwarded`, and of what is handed to relays, that `cuts` end. Ask before they are made.
#[must_use]
pub fn of(cuts: &BTreeSet<Cut>, forwarded: &[Flow]) -> Vec<Ends> {
    // Without them their devices wait, as they did before anybody told them.
    let steered = flows::steered().unwrap_or_default();
    chosen(cuts, forwarded, &steered)
}

fn chosen(cuts: &BTreeSet<Cut>, forwarded: &[Flow], steered: &[Flow]) -> Vec<Ends> {
    let cut = |flow: &&Flow| is_cut(cuts, flow);
    let forwarded = forwarded.iter().filter(cut).map(|flow| (flow, flow.seen));
    let steered = steered.iter().filter(cut).map(|flow| (flow, None));
    let all = forwarded.chain(steered).map(|(flow, seen)| Ends {
        device: flow.key.from,
        service: flow.key.to,
        seen,
    });
    all.take(MOST).collect()
}

fn is_cut(cuts: &BTreeSet<Cut>, flow: &Flow) -> bool {
    let key = &flow.key;
    if key.transport != Transport::Tcp || flow.state != FlowState::Open {
        return false;
    }
    let service = Cut::Service {
        device: key.from.ip(),
        service: key.to,
        transport: key.transport,
    };
    let device = |address| cuts.contains(&Cut::Device { address });
    cuts.contains(&Cut::Flow(*key))
        || cuts.contains(&service)
        || device(key.from.ip())
        || device(key.to.ip())
}

/// Tells them, for about two seconds. The cuts must be made.
//= C9
pub async fn tell(all: Vec<Ends>) {
    for (side, time) in ROUNDS {
        let calls: Vec<_> = all.iter().filter_map(|ends| ends.call(side)).collect();
        let begun = calls.clone();
        let _ended = tokio::task::spawn_blocking(move || begin(&begun)).await;
        tokio::time::sleep(time).await;
        // Whoever comes again with the same port must be taken for new.
        let _ended = tokio::task::spawn_blocking(move || forget(&calls)).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Device,
    Service,
}

impl Ends {
    /// In whose name which end is called.
    fn call(&self, side: Side) -> Option<(SocketAddr, SocketAddr)> {
        match side {
            Side::Device => Some((self.service, self.device)),
            Side::Service => self.seen.map(|seen| (seen, self.service)),
        }
    }
}

fn begin(calls: &[(SocketAddr, SocketAddr)]) {
    for (from, to) in calls {
        if let Err(error) = call(*from, *to) {
            debug!(%error, "an end of a connection that was cut cannot be told");
        }
    }
}

/// Sends the first packet of a connection, and gives it up.
fn call(from: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    match from {
        SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
        SocketAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
    }
    socket.set_mark(MARK)?;
    socket.bind(&from.into())?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        other => other,
    }
}

fn forget(calls: &[(SocketAddr, SocketAddr)]) {
    let keys = calls.iter().map(|(from, to)| (*from, *to, Transport::Tcp));
    if let Err(error) = conntrack::forget(keys) {
        debug!(%error, "connections that were begun to end others are left to their time");
    }
}

/// Whatever comes to a connection that was cut is told.
pub(super) fn ended(frame: &Frame) -> Vec<Rule> {
    let hospital = Term::From(frame.hospital.clone());
    let from = frame.from().chain([hospital]);
    from.map(|from| {
        Rule(vec![
            from,
            Term::CtMark(CT_MARK),
            Term::Tcp,
            Term::Count,
            Term::Reset,
        ])
    })
    .collect()
}

/// What the gateway says on such a connection: its first packet, and resets.
pub(super) fn goes_out(frame: &Frame) -> Vec<Rule> {
    let mut rules = Vec::new();
    for towards in frame
        .towards()
        .chain([Term::Towards(frame.hospital.clone())])
    {
        rules.push(Rule(vec![
            towards.clone(),
            Term::Mark(MARK),
            Term::Tcp,
            Term::SetCtMark(CT_MARK),
            Term::Accept,
        ]));
        rules.push(Rule(vec![
            towards,
            Term::CtMark(CT_MARK),
            Term::Tcp,
            Term::Accept,
        ]));
    }
    rules
}

/// Tells a device that no rule lets it, whatever it called, so that people are not kept waiting.
/// The answer is the same for every address, so that it says nothing about what is there.
pub(super) fn denied(family: Family, who: Vec<Term>) -> Rule {
    let mut terms = who;
    terms.extend([
        Term::Tcp,
        Term::State(State::New),
        Term::NotOftener {
            family,
            set: set_name(family),
            most: ANSWERS,
        },
        Term::Count,
        Term::Log(Why::Denied),
        Term::Reset,
    ]);
    Rule(terms)
}

/// The set in which answers to each device are counted.
//= C7
pub(super) fn answered(family: Family) -> Set {
    Set {
        name: set_name(family),
        family,
        elements: BTreeSet::new(),
        counts: true,
    }
}

fn set_name(family: Family) -> String {
    format!("answered/{}", family.suffix())
}

/// The mark of sockets that begin such connections.
const MARK: u32 = 0x5500_0004;
/// The mark of such connections.
const CT_MARK: u32 = 0x4f00_0001;
/// Resets for one device in a second: a scan does not become quicker by them.
//= C7
const ANSWERS: u32 = 20;
/// Connections that are told at once; the ends of others wait until they give up.
//= C7
const MOST: usize = 1_024;
/// Who is called when, and for how long the answer is waited for. One side after the other: where the hospital routes
/// devices' addresses, both calls would be one connection. Services are near, devices may be behind a slow network.
const ROUNDS: [(Side, Duration); 6] = [
    (Side::Service, Duration::from_millis(100)),
    (Side::Device, Duration::from_millis(400)),
    (Side::Service, Duration::from_millis(100)),
    (Side::Device, Duration::from_millis(500)),
    (Side::Service, Duration::from_millis(100)),
    (Side::Device, Duration::from_millis(800)),
];

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, ip, small};
    use super::super::flows::{FlowKey, Passed};
    use super::super::plan::{Facts, Listeners, Plan};
    use super::*;
    use lazaret_config::HospitalMode;
    use std::collections::BTreeMap;

    fn flow(id: u32, from: &str, to: &str, state: FlowState) -> Flow {
        Flow {
            key: FlowKey {
                id,
                from: at(from),
                to: at(to),
                transport: Transport::Tcp,
            },
            state,
            passed: Some(Passed::default()),
            seen: Some(at("10.20.0.1:40000")),
            began: None,
        }
    }

    #[test]
    fn only_what_is_cut_and_alive_is_told_and_relays_have_their_own_end() {
        let [one, two] = ["10.64.0.1:5000", "10.64.0.2:5000"];
        let [shell, his] = ["10.20.0.5:22", "10.20.1.10:2575"];
        let forwarded = [
            flow(1, one, shell, FlowState::Open),
            flow(2, two, shell, FlowState::Open),
            flow(3, one, shell, FlowState::Closed),
            flow(4, one, shell, FlowState::Tried),
        ];
        let mut packets = flow(5, one, shell, FlowState::Open);
        packets.key.transport = Transport::Udp;
        let forwarded = [&forwarded[..], &[packets]].concat();
        let steered = [flow(6, one, his, FlowState::Open)];
        let told = |cut: Cut| {
            let all = chosen(&[cut].into(), &forwarded, &steered);
            let text = |ends: &Ends| {
                let calls = [Side::Device, Side::Service].map(|side| ends.call(side));
                calls.map(|call| call.map(|(from, to)| format!("{from} {to}")))
            };
            all.iter().map(text).collect::<Vec<_>>()
        };
        let device = Some(format!("{shell} {one}"));
        let service = Some(format!("10.20.0.1:40000 {shell}"));
        let both = [device, service];
        let relayed = [Some(format!("{his} {one}")), None];
        let address = ip("10.64.0.1");
        assert_eq!(told(Cut::Device { address }), [both.clone(), relayed]);
        let cut = Cut::Service {
            device: address,
            service: at(shell),
            transport: Transport::Tcp,
        };
        for cut in [cut, Cut::Flow(forwarded[0].key)] {
            assert_eq!(told(cut).first(), Some(&both));
            assert_eq!(told(cut).len(), 1);
        }
        assert!(told(Cut::Flow(forwarded[2].key)).is_empty());
        let address = ip("10.64.0.9");
        assert!(told(Cut::Device { address }).is_empty());
    }

    //= C7
    #[test]
    fn who_is_told_is_bounded() {
        let many: Vec<Flow> = (0..3_000)
            .map(|id| flow(id, "10.64.0.1:5000", "10.20.0.5:22", FlowState::Open))
            .collect();
        let address = ip("10.64.0.1");
        let told = chosen(&[Cut::Device { address }].into(), &many, &[]);
        assert_eq!(told.len(), MOST);
    }

    /// Nothing that is let through is answered, and nobody unknown.
    //= C3
    #[test]
    fn resets_stand_where_something_is_dropped_and_for_known_devices_alone() {
        let facts = Facts {
            now: "2026-11-24T11:00:00Z".parse().unwrap(),
            standing: BTreeMap::new(),
            listeners: Listeners {
                v4: Some(at("10.64.255.254:7000")),
                v6: None,
            },
            udp_port: 51820,
            held: BTreeSet::new(),
        };
        for mode in [HospitalMode::Snat, HospitalMode::Routed] {
            let plan = Plan::new(&small(mode), &facts);
            let chains = &plan.table().chains;
            let resets = chains.iter().flat_map(|chain| &chain.rules);
            let resets = resets.filter(|rule| rule.0.last() == Some(&Term::Reset));
            let mut seen = 0;
            for rule in resets {
                let text = rule.to_string();
                assert!(rule.0.contains(&Term::Tcp), "{text}");
                let cut = rule.0.contains(&Term::CtMark(CT_MARK));
                let known = text.contains("saddr @active/") && text.contains("ct state new");
                assert!(cut != known, "{text}");
                seen += 1;
            }
            assert_eq!(seen, 4);
        }
    }
}
