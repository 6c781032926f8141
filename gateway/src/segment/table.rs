//! Our own description of an nftables table: sets, chains and rules as plain data.
//!
//! In: nothing. Out: types that are written by `nft.rs`, read back by `readback.rs` and shown in the syntax of nft.
//! Knows nothing of devices, roles or services.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use lazaret_config::Transport;

/// The table is `inet lazaret`.
pub const TABLE: &str = "lazaret";

/// A whole table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Every set, in the order in which they are written.
    pub sets: Vec<Set>,
    /// Every chain; those that are jumped to come before those that jump.
    pub chains: Vec<Chain>,
}

/// A plain set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Unique in the table.
    pub name: String,
    /// Of its elements.
    pub family: Family,
    /// All of `family`.
    pub elements: BTreeSet<IpAddr>,
    /// Packets fill it, see [`Term::MoreThan`] and [`Term::NotOftener`]; what is in it does not matter.
    pub counts: bool,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A chain and its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Unique in the table.
    pub name: String,
    /// Where packets come from; `None` if only jumps lead here.
    pub base: Option<Base>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// `filter` or `nat`.
    pub kind: Kind,
    /// Where.
    pub hook: Hook,
    /// When, among others at that hook.
    pub priority: i32,
    /// What becomes of a packet that no rule decides.
    pub policy: Policy,
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lets pass or drops.
    Filter,
    /// Translates addresses; sees the first packet of a connection only.
    Nat,
}

/// A place in the kernel's path of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
}

/// What becomes of a packet that no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes on to the next hook.
    Accept,
    /// It ends here.
    Drop,
}

/// Conditions and statements, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub Vec<Term>);

/// One condition or statement of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Came from this interface.
    From(String),
    /// Came from another interface.
    NotFrom(String),
    /// Leaves by this interface.
    Towards(String),
    /// Leaves by another interface.
    NotTowards(String),
    /// The source is in the set.
    SourceIn(Family, String),
    /// The destination is in the set.
    DestinationIn(Family, String),
    /// The source is this address.
    Source(IpAddr),
    /// The source is in the network.
    SourceNet(IpNet),
    /// The destination is this address.
    Destination(IpAddr),
    /// The destination port.
    Port(Transport, u16),
    /// The source port.
    SourcePort(Transport, u16),
    /// The source has more live connections than this, by the set in which they are counted.
    MoreThan {
        /// Of the source.
        family: Family,
        /// The set.
        set: String,
        /// How many are not too many.
        most: u32,
    },
    /// The source is not answered more often than this in a second, by the set in which that is counted.
    NotOftener {
        /// Of the source.
        family: Family,
        /// The set.
        set: String,
        /// Packets in a second, and at once.
        most: u32,
    },
    /// TCP.
    Tcp,
    /// ICMP or ICMPv6 of any type.
    Icmp(Family),
    /// ICMP or ICMPv6 of this type.
    IcmpType(Family, u8),
    /// State of the connection.
    State(State),
    /// Mark of the connection.
    CtMark(u32),
    /// Mark of the packet.
    Mark(u32),
    /// Sets the mark of the connection.
    SetCtMark(u32),
    /// Sets the mark of the packet.
    SetMark(u32),
    /// Counts.
    Count,
    /// Tells the log group why the packet is about to be dropped.
    Log(Why),
    /// Goes to this address instead.
    Dnat(SocketAddr),
    /// Leaves with this host's address.
    Masquerade,
    /// Passes.
    Accept,
    /// Ends.
    Drop,
    /// Ends, and who sent it is told by a reset of TCP.
    Reset,
    /// Goes on in another chain and comes back if that decides nothing.
    Jump(String),
}

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Part of a known connection, or an error about one.
    EstablishedRelated,
    /// An error about a known connection.
    Related,
    /// The first packet.
    New,
    /// Belongs to no connection and cannot begin one.
    Invalid,
}

/// Why a packet is dropped; travels as the prefix of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// From or to a device in quarantine.
    Quarantine,
    /// A tunnel address from outside the tunnel.
    Spoofed,
    /// From the tunnel, with an address that no active device has.
    Unknown,
    /// To the gateway itself.
    Gateway,
    /// No rule allows it.
    Denied,
    /// A rule allows it, but the device has too many connections.
    Crowded,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// `v4` or `v6`, for names.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    /// The word of nft for the header.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// The word of nft for the type of an address.
    #[must_use]
    pub fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "ipv4_addr",
            Self::V6 => "ipv6_addr",
        }
    }
}

impl Hook {
    /// The word of nft.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }
}

impl Kind {
    /// The word of nft.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

impl Policy {
    /// The word of nft.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        }
    }
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Quarantine,
        Self::Spoofed,
        Self::Unknown,
        Self::Gateway,
        Self::Denied,
        Self::Crowded,
    ];

    /// The prefix in the log.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Quarantine => "lz-quarantine",
            Self::Spoofed => "lz-spoofed",
            Self::Unknown => "lz-unknown",
            Self::Gateway => "lz-gateway",
            Self::Denied => "lz-denied",
            Self::Crowded => "lz-crowded",
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Quarantine => "the device is in quarantine",
            Self::Spoofed => "a tunnel address from outside the tunnel",
            Self::Unknown => "the address of no active device",
            Self::Gateway => "the gateway itself is not reachable",
            Self::Denied => "no rule allows it",
            Self::Crowded => "the device has too many connections",
        }
    }

    /// What a prefix stands for.
    #[must_use]
    pub fn of_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.prefix() == prefix)
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "type {} hook {} priority {}; policy {}",
            self.kind.word(),
            self.hook.word(),
            self.priority,
            self.policy.word()
        )
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(name) => write!(f, "iifname {name}"),
            Self::NotFrom(name) => write!(f, "iifname != {name}"),
            Self::Towards(name) => write!(f, "oifname {name}"),
            Self::NotTowards(name) => write!(f, "oifname != {name}"),
            Self::SourceIn(family, set) => write!(f, "{} saddr @{set}", family.header()),
            Self::DestinationIn(family, set) => write!(f, "{} daddr @{set}", family.header()),
            Self::SourceNet(net) => {
                write!(f, "{} saddr {net}", Family::of(net.addr()).header())
            }
            Self::Source(address) => {
                write!(f, "{} saddr {address}", Family::of(*address).header())
            }
            Self::Destination(address) => {
                write!(f, "{} daddr {address}", Family::of(*address).header())
            }
            Self::Port(transport, port) => write!(f, "{} dport {port}", word(*transport)),
            Self::SourcePort(transport, port) => write!(f, "{} sport {port}", word(*transport)),
            Self::MoreThan { family, set, most } => {
                let header = family.header();
                write!(f, "add @{set} {{ {header} saddr ct count over {most} }}")
            }
            Self::NotOftener { family, set, most } => {
                let header = family.header();
                let rate = format!("{most}/second burst {most}");
                write!(f, "add @{set} {{ {header} saddr limit rate {rate} }}")
            }
            Self::Tcp => f.write_str("meta l4proto 6"),
            Self::Icmp(Family::V4) => f.write_str("meta l4proto 1"),
            Self::Icmp(Family::V6) => f.write_str("meta l4proto 58"),
            Self::IcmpType(Family::V4, kind) => write!(f, "icmp type {kind}"),
            Self::IcmpType(Family::V6, kind) => write!(f, "icmpv6 type {kind}"),
            Self::State(State::EstablishedRelated) => f.write_str("ct state established,related"),
            Self::State(State::Related) => f.write_str("ct state related"),
            Self::State(State::New) => f.write_str("ct state new"),
            Self::State(State::Invalid) => f.write_str("ct state invalid"),
            Self::CtMark(mark) => write!(f, "ct mark {mark:#x}"),
            Self::Mark(mark) => write!(f, "meta mark {mark:#x}"),
            Self::SetCtMark(mark) => write!(f, "ct mark set {mark:#x}"),
            Self::SetMark(mark) => write!(f, "meta mark set {mark:#x}"),
            Self::Count => f.write_str("counter"),
            Self::Log(why) => write!(f, "log prefix {} group {LOG_GROUP}", why.prefix()),
            Self::Dnat(to) => write!(f, "dnat {} to {to}", Family::of(to.ip()).header()),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Reset => f.write_str("reject with tcp reset"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for set in &self.sets {
            let type_ = set.family.address_type();
            if set.counts {
                writeln!(f, "set {} ({type_}, counts)", set.name)?;
                continue;
            }
            writeln!(f, "set {} ({type_}, {})", set.name, set.elements.len())?;
            for element in &set.elements {
                writeln!(f, "    {element}")?;
            }
        }
        for chain in &self.chains {
            match &chain.base {
                Some(base) => writeln!(f, "chain {} ({base})", chain.name)?,
                None => writeln!(f, "chain {}", chain.name)?,
            }
            for rule in &chain.rules {
                writeln!(f, "    {rule}")?;
            }
        }
        Ok(())
    }
}

/// The word of nft for a transport.
fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// The log group on which drops are told.
pub const LOG_GROUP: u16 = 76;
