//! Writes the table: the only user of `rustables`.
//!
//! In: a [`Plan`]. Out: one netlink transaction, done or refused as a whole.
//! Decides nothing; whether the kernel did as it was told is asked by `readback.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use lazaret_config::Transport;
use rustables::expr::{
    Bitwise, Cmp, CmpOp, ConnTrackState, Conntrack, ConntrackKey, Counter, HighLevelPayload,
    ICMPv6HeaderField, IPv4HeaderField, IPv6HeaderField, Immediate, Log, Lookup, Masquerade, Meta,
    MetaType, Nat, NatType, NetworkHeaderField, RawExpression, Register, Reject, RejectType,
    TCPHeaderField, TransportHeaderField, UDPHeaderField, VerdictKind,
};
use rustables::set::{SetBuilder, SetElementList};
use rustables::{
    Batch, Chain, ChainPolicy, ChainType, Hook, HookClass, MsgType, ProtocolFamily, Rule, Set,
    Table,
};

use crate::segment::SegmentError;
use crate::segment::plan::Plan;
use crate::segment::table::{self, Base, Family, Kind, LOG_GROUP, Policy, State, TABLE, Term};
use crate::segment::{chains, dynset, netlink};

/// Replaces the whole table in one transaction.
///
/// # Errors
/// See [`SegmentError`]; after all but [`SegmentError::NoAnswer`] the table is as it was.
pub fn apply(plan: &Plan) -> Result<(), SegmentError> {
    let (batch, labels) = transaction(plan.table())?;
    netlink::transact(batch, &labels)
}

/// How many bytes the transaction of a plan takes. It must fit the send buffer of a socket.
///
/// # Errors
/// When the plan cannot be expressed.
pub fn batch_size(plan: &Plan) -> Result<usize, SegmentError> {
    Ok(transaction(plan.table())?.0.len())
}

/// Puts addresses into quarantine and takes others out, without touching the rest of the table.
///
/// This is the quick first step; a plan with the new standing must be applied after it.
/// It does not matter whether an address is there already or not at all.
///
/// # Errors
/// See [`SegmentError`]; nothing is changed then.
pub fn set_quarantine(add: &[IpAddr], remove: &[IpAddr]) -> Result<(), SegmentError> {
    let mut parts = Parts::new();
    let adding: BTreeSet<IpAddr> = add.iter().copied().collect();
    let removing: BTreeSet<IpAddr> = (remove.iter().copied())
        .filter(|address| !adding.contains(address))
        .collect();
    for family in [Family::V4, Family::V6] {
        let name = chains::quarantine(family);
        parts.elements(&name, family, &adding, &[MsgType::Add])?;
        // Deleting what is absent would refuse everything: make it present first.
        parts.elements(&name, family, &removing, &[MsgType::Add, MsgType::Del])?;
    }
    if parts.labels.is_empty() {
        return Ok(());
    }
    let (batch, labels) = parts.finish();
    netlink::transact(batch, &labels)
}

/// The messages of one table and what each is about.
fn transaction(plan: &table::Table) -> Result<(Vec<u8>, Vec<String>), SegmentError> {
    let mut parts = Parts::new();
    // Deleting needs something to delete, so that it works whether or not the table was there.
    for what in [MsgType::Add, MsgType::Del, MsgType::Add] {
        parts.batch.add(&parts.table, what);
        parts.labels.push(format!("table {TABLE}"));
    }
    let mut sets = BTreeMap::new();
    for (set, id) in plan.sets.iter().zip(1u32..) {
        let name = set.name.as_str();
        let written = match set.family {
            Family::V4 => new_set::<Ipv4Addr>(&parts.table, name, id),
            Family::V6 => new_set::<Ipv6Addr>(&parts.table, name, id),
        }?;
        let written = if set.counts {
            written.with_flags(dynset::FILLED_BY_PACKETS)
        } else {
            written
        };
        parts.batch.add(&written, MsgType::Add);
        parts.labels.push(format!("set {name}"));
        sets.insert(name, written);
    }
    for set in &plan.sets {
        parts.elements(&set.name, set.family, &set.elements, &[MsgType::Add])?;
    }
    let chains: Vec<Chain> = (plan.chains.iter())
        .map(|chain| new_chain(&parts.table, &chain.name, chain.base.as_ref()))
        .collect();
    for (chain, written) in plan.chains.iter().zip(&chains) {
        parts.batch.add(written, MsgType::Add);
        parts.labels.push(format!("chain {}", chain.name));
    }
    for (chain, written) in plan.chains.iter().zip(&chains) {
        for (number, rule) in chain.rules.iter().enumerate() {
            let label = format!("rule {} of chain {}", number + 1, chain.name);
            let mut out = Rule::new(written).map_err(|e| build(&label, e))?;
            for term in &rule.0 {
                for expression in expressions(term, &sets).map_err(|e| build(&label, e))? {
                    out.add_expr(expression);
                }
            }
            parts.batch.add(&out, MsgType::Add);
            parts.labels.push(label);
        }
    }
    Ok(parts.finish())
}

struct Parts {
    table: Table,
    batch: Batch,
    labels: Vec<String>,
}

impl Parts {
    fn new() -> Self {
        Self {
            table: Table::new(ProtocolFamily::Inet).with_name(TABLE),
            batch: Batch::new(),
            labels: Vec::new(),
        }
    }

    /// Element messages, short enough that their 16-bit lengths hold.
    fn elements(
        &mut self,
        set: &str,
        family: Family,
        addresses: &BTreeSet<IpAddr>,
        what: &[MsgType],
    ) -> Result<(), SegmentError> {
        let of_family: Vec<&IpAddr> = (addresses.iter())
            .filter(|address| Family::of(**address) == family)
            .collect();
        for some in of_family.chunks(MAX_ELEMENTS) {
            let list = element_list(&self.table, set, family, some)?;
            for kind in what {
                self.batch.add(&list, *kind);
                self.labels.push(format!("elements of set {set}"));
            }
        }
        Ok(())
    }

    fn finish(self) -> (Vec<u8>, Vec<String>) {
        (dynset::put(&self.batch.finalize()), self.labels)
    }
}

fn element_list(
    table: &Table,
    set: &str,
    family: Family,
    addresses: &[&IpAddr],
) -> Result<SetElementList, SegmentError> {
    let label = || format!("elements of set {set}");
    Ok(match family {
        Family::V4 => {
            let mut builder = SetBuilder::new(set, table).map_err(|e| build(&label(), e))?;
            for address in addresses {
                if let IpAddr::V4(address) = address {
                    builder.add(address);
                }
            }
            builder.finish().1
        }
        Family::V6 => {
            let mut builder = SetBuilder::new(set, table).map_err(|e| build(&label(), e))?;
            for address in addresses {
                if let IpAddr::V6(address) = address {
                    builder.add(address);
                }
            }
            builder.finish().1
        }
    })
}

fn new_set<K: rustables::data_type::DataType>(
    table: &Table,
    name: &str,
    id: u32,
) -> Result<Set, SegmentError> {
    let builder =
        SetBuilder::<K>::new(name, table).map_err(|e| build(&format!("set {name}"), e))?;
    let (mut set, _) = builder.finish();
    // The builder leaves these out; the id lets rules of the same transaction name the set.
    set.family = ProtocolFamily::Inet;
    set.set_id(id);
    set.set_flags(0u32);
    Ok(set)
}

fn new_chain(table: &Table, name: &str, base: Option<&Base>) -> Chain {
    let chain = Chain::new(table).with_name(name);
    let Some(base) = base else { return chain };
    let hook = match base.hook {
        table::Hook::Prerouting => HookClass::PreRouting,
        table::Hook::Input => HookClass::In,
        table::Hook::Forward => HookClass::Forward,
        table::Hook::Output => HookClass::Out,
        table::Hook::Postrouting => HookClass::PostRouting,
    };
    chain
        .with_hook(Hook::new(hook, base.priority))
        .with_type(match base.kind {
            Kind::Filter => ChainType::Filter,
            Kind::Nat => ChainType::Nat,
        })
        .with_policy(match base.policy {
            Policy::Accept => ChainPolicy::Accept,
            Policy::Drop => ChainPolicy::Drop,
        })
}

type Expressions = Result<Vec<RawExpression>, Box<dyn std::error::Error + Send + Sync>>;

fn expressions(term: &Term, sets: &BTreeMap<&str, Set>) -> Expressions {
    let in_set = |family, source, name: &str| -> Expressions {
        let set = sets.get(name).ok_or("there is no such set")?;
        let mut out = of_family(family);
        out.push(address(family, source).into());
        out.push(Lookup::new(set)?.into());
        Ok(out)
    };
    Ok(match term {
        Term::From(name) => interface(MetaType::IifName, CmpOp::Eq, name)?,
        Term::NotFrom(name) => interface(MetaType::IifName, CmpOp::Neq, name)?,
        Term::Towards(name) => interface(MetaType::OifName, CmpOp::Eq, name)?,
        Term::NotTowards(name) => interface(MetaType::OifName, CmpOp::Neq, name)?,
        Term::SourceIn(family, name) => in_set(*family, true, name)?,
        Term::DestinationIn(family, name) => in_set(*family, false, name)?,
        Term::SourceNet(net) => source_net(net)?,
        Term::Source(from) => is_address(*from, true),
        Term::Destination(to) => is_address(*to, false),
        Term::Port(transport, number) => port(*transport, false, *number),
        Term::SourcePort(transport, number) => port(*transport, true, *number),
        Term::MoreThan { family, set, most } => {
            let mut out = of_family(*family);
            out.push(address(*family, true).into());
            out.push(dynset::stand_in(dynset::Counted::Connections, set, *most));
            out
        }
        Term::NotOftener { family, set, most } => {
            let mut out = of_family(*family);
            out.push(address(*family, true).into());
            out.push(dynset::stand_in(dynset::Counted::Rate, set, *most));
            out
        }
        Term::Tcp => protocol(TCP),
        Term::Icmp(family) => protocol(icmp_number(*family)),
        Term::IcmpType(family, kind) => {
            let mut out = protocol(icmp_number(*family));
            // The type is the first byte of either protocol.
            let field = TransportHeaderField::ICMPv6(ICMPv6HeaderField::Type);
            out.push(HighLevelPayload::Transport(field).build().into());
            out.push(Cmp::new(CmpOp::Eq, [*kind]).into());
            out
        }
        Term::State(state) => vec![
            Conntrack::new(ConntrackKey::State).into(),
            Bitwise::new(state_bits(*state).to_ne_bytes(), 0u32.to_ne_bytes())?.into(),
            Cmp::new(CmpOp::Neq, 0u32.to_ne_bytes()).into(),
        ],
        Term::CtMark(mark) => vec![
            Conntrack::new(ConntrackKey::Mark).into(),
            Cmp::new(CmpOp::Eq, mark.to_ne_bytes()).into(),
        ],
        Term::Mark(mark) => vec![
            Meta::new(MetaType::Mark).into(),
            Cmp::new(CmpOp::Eq, mark.to_ne_bytes()).into(),
        ],
        // From `default()`: `new()` would set the destination register as well.
        Term::SetCtMark(mark) => vec![
            Immediate::new_data(mark.to_ne_bytes().to_vec(), Register::Reg1).into(),
            Conntrack::default().with_mark_value(Register::Reg1).into(),
        ],
        Term::SetMark(mark) => vec![
            Immediate::new_data(mark.to_ne_bytes().to_vec(), Register::Reg1).into(),
            Meta::default()
                .with_key(MetaType::Mark)
                .with_sreg(Register::Reg1)
                .into(),
        ],
        Term::Count => vec![
            Counter::default()
                .with_nb_bytes(0u64)
                .with_nb_packets(0u64)
                .into(),
        ],
        Term::Log(why) => vec![Log::new(Some(LOG_GROUP), Some(why.prefix()))?.into()],
        Term::Dnat(to) => dnat(*to),
        Term::Masquerade => vec![Masquerade {}.into()],
        Term::Accept => verdict(VerdictKind::Accept),
        Term::Drop => verdict(VerdictKind::Drop),
        Term::Reset => vec![Reject::default().with_type(RejectType::TcpRst).into()],
        Term::Jump(chain) => verdict(VerdictKind::Jump {
            chain: chain.clone(),
        }),
    })
}

fn verdict(kind: VerdictKind) -> Vec<RawExpression> {
    vec![Immediate::new_verdict(kind).into()]
}

/// Compares all 16 bytes, so that `lan0` is not `lan01`.
fn interface(key: MetaType, op: CmpOp, name: &str) -> Expressions {
    let mut bytes = name.as_bytes().to_vec();
    if bytes.len() >= IFNAMSIZ || bytes.contains(&0) {
        return Err("the name of the interface is too long".into());
    }
    bytes.resize(IFNAMSIZ, 0);
    Ok(vec![Meta::new(key).into(), Cmp::new(op, bytes).into()])
}

fn of_family(family: Family) -> Vec<RawExpression> {
    let number: u8 = match family {
        Family::V4 => 2,
        Family::V6 => 10,
    };
    vec![
        Meta::new(MetaType::NfProto).into(),
        Cmp::new(CmpOp::Eq, [number]).into(),
    ]
}

fn address(family: Family, source: bool) -> rustables::expr::Payload {
    HighLevelPayload::Network(match (family, source) {
        (Family::V4, true) => NetworkHeaderField::IPv4(IPv4HeaderField::Saddr),
        (Family::V4, false) => NetworkHeaderField::IPv4(IPv4HeaderField::Daddr),
        (Family::V6, true) => NetworkHeaderField::IPv6(IPv6HeaderField::Saddr),
        (Family::V6, false) => NetworkHeaderField::IPv6(IPv6HeaderField::Daddr),
    })
    .build()
}

fn is_address(wanted: IpAddr, source: bool) -> Vec<RawExpression> {
    let family = Family::of(wanted);
    let mut out = of_family(family);
    out.push(address(family, source).into());
    out.push(Cmp::new(CmpOp::Eq, octets(wanted)).into());
    out
}

fn source_net(net: &IpNet) -> Expressions {
    let family = Family::of(net.addr());
    let mask = octets(net.netmask());
    let zero = vec![0u8; mask.len()];
    let mut out = of_family(family);
    out.push(address(family, true).into());
    out.push(Bitwise::new(mask, zero)?.into());
    out.push(Cmp::new(CmpOp::Eq, octets(net.network())).into());
    Ok(out)
}

fn protocol(number: u8) -> Vec<RawExpression> {
    vec![
        Meta::new(MetaType::L4Proto).into(),
        Cmp::new(CmpOp::Eq, [number]).into(),
    ]
}

fn port(transport: Transport, source: bool, number: u16) -> Vec<RawExpression> {
    let (protocol_number, field) = match (transport, source) {
        (Transport::Tcp, true) => (TCP, TransportHeaderField::Tcp(TCPHeaderField::Sport)),
        (Transport::Tcp, false) => (TCP, TransportHeaderField::Tcp(TCPHeaderField::Dport)),
        (Transport::Udp, true) => (17, TransportHeaderField::Udp(UDPHeaderField::Sport)),
        (Transport::Udp, false) => (17, TransportHeaderField::Udp(UDPHeaderField::Dport)),
    };
    let mut out = protocol(protocol_number);
    out.push(HighLevelPayload::Transport(field).build().into());
    out.push(Cmp::new(CmpOp::Eq, number.to_be_bytes()).into());
    out
}

fn dnat(to: SocketAddr) -> Vec<RawExpression> {
    let family = match to {
        SocketAddr::V4(_) => ProtocolFamily::Ipv4,
        SocketAddr::V6(_) => ProtocolFamily::Ipv6,
    };
    vec![
        Immediate::new_data(octets(to.ip()), Register::Reg1).into(),
        Immediate::new_data(to.port().to_be_bytes().to_vec(), Register::Reg2).into(),
        Nat::default()
            .with_nat_type(NatType::DNat)
            .with_family(family)
            .with_ip_register(Register::Reg1)
            .with_port_register(Register::Reg2)
            .into(),
    ]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn icmp_number(family: Family) -> u8 {
    match family {
        Family::V4 => 1,
        Family::V6 => 58,
    }
}

fn state_bits(state: State) -> u32 {
    match state {
        State::EstablishedRelated => (ConnTrackState::ESTABLISHED | ConnTrackState::RELATED).bits(),
        State::Related => ConnTrackState::RELATED.bits(),
        State::New => ConnTrackState::NEW.bits(),
        State::Invalid => ConnTrackState::INVALID.bits(),
    }
}

fn build(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SegmentError {
    SegmentError::Build {
        what: what.to_owned(),
        source: source.into(),
    }
}

/// The protocol's number.
const TCP: u8 = 6;
/// Elements in one message.
const MAX_ELEMENTS: usize = 1_000;
/// Length of an interface's name with its end.
const IFNAMSIZ: usize = 16;
