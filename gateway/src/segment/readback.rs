//! Reads the live table with another tool than the one that wrote it, and compares.
//!
//! In: a [`Plan`] and what `nft -j` prints. Out: nothing, or a [`Drift`] in words.
//! Counters and handles do not matter; everything else does. Repairs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::thread::CapabilitySet;
use serde_json::Value;

use crate::segment::plan::Plan;
use crate::segment::table::{Base, TABLE, Table};

/// Why the live table is not known to be as planned.
#[derive(Debug, thiserror::Error)]
pub enum Drift {
    /// It was read and is different.
    #[error("the live table differs: {}", .0.join("; "))]
    Differs(Vec<String>),
    /// There is no `nft`.
    #[error("there is no nft in /usr/sbin, /sbin or /usr/bin")]
    NoTool,
    /// It could not be started, or not with the capability that it needs.
    #[error("cannot start nft")]
    Start(#[source] io::Error),
    /// It refused; also when the table does not exist.
    #[error("nft cannot list the table: {0}")]
    Tool(String),
    /// It printed something else than JSON.
    #[error("cannot read what nft prints")]
    Json(#[from] serde_json::Error),
}

/// Compares the live table with the plan. Takes 20 ms, with 10,000 devices a few hundred; blocks.
///
/// # Errors
/// Whatever keeps us from knowing that both are equal.
pub fn verify(plan: &Plan) -> Result<(), Drift> {
    let output = list()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().next().unwrap_or_default();
        return Err(Drift::Tool(line.to_owned()));
    }
    let live = Live::read(&serde_json::from_slice(&output.stdout)?);
    let mut differences = Vec::new();
    live.compare(plan.table(), &mut differences);
    if differences.is_empty() {
        return Ok(());
    }
    let more = differences.len().saturating_sub(MAX_DIFFERENCES);
    differences.truncate(MAX_DIFFERENCES);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Err(Drift::Differs(differences))
}

/// Runs `nft` from a thread of its own that lends it CAP_NET_ADMIN: the supervisor's children start with nothing
/// (`SECBIT_NO_ROOT`), and an ambient capability of the supervisor itself would reach the workers too.
fn list() -> Result<Output, Drift> {
    let tool = (TOOLS.iter().map(Path::new))
        .find(|path| path.is_file())
        .map(PathBuf::from)
        .ok_or(Drift::NoTool)?;
    let run = move || -> io::Result<Output> {
        lend()?;
        Command::new(tool)
            .args(["-j", "list", "table", "inet", TABLE])
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
    };
    let thread = std::thread::Builder::new().name("nft".to_owned());
    let output = thread.spawn(run).map_err(Drift::Start)?.join();
    match output {
        Ok(output) => output.map_err(Drift::Start),
        Err(_) => Err(Drift::Start(io::Error::other("the thread ended"))),
    }
}

/// Makes CAP_NET_ADMIN pass an exec of this thread.
fn lend() -> io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable |= CapabilitySet::NET_ADMIN;
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, true)?;
    Ok(())
}

/// The live table, in the words of `table.rs`.
#[derive(Default)]
struct Live {
    /// Name to type and elements.
    sets: BTreeMap<String, (String, BTreeSet<String>)>,
    /// Name to the base, if it is a base chain.
    chains: BTreeMap<String, Option<String>>,
    /// Chain to rules.
    rules: BTreeMap<String, Vec<String>>,
    /// What has no place in our table at all.
    strange: Vec<String>,
}

impl Live {
    fn read(json: &Value) -> Self {
        let mut live = Self::default();
        let objects = json.get("nftables").and_then(Value::as_array);
        for object in objects.into_iter().flatten().filter_map(Value::as_object) {
            for (kind, body) in object {
                match kind.as_str() {
                    "metainfo" | "table" => {}
                    "set" => live.read_set(body),
                    "chain" => live.read_chain(body),
                    "rule" => {
                        let chain = text(body, "chain");
                        live.rules.entry(chain).or_default().push(rule(body));
                    }
                    other => live
                        .strange
                        .push(format!("a {other} {}", text(body, "name"))),
                }
            }
        }
        live
    }

    fn read_set(&mut self, body: &Value) {
        let name = text(body, "name");
        let elements = body.get("elem").and_then(Value::as_array);
        let elements = (elements.into_iter().flatten())
            .map(|element| {
                let address = element.as_str().map(str::to_owned);
                address.unwrap_or_else(|| element.to_string())
            })
            .collect();
        let mut kind = text(body, "type");
        for unplanned in ["flags", "timeout", "gc-interval", "stmt"] {
            if let Some(value) = body.get(unplanned) {
                kind.push_str(&format!(" {unplanned} {value}"));
            }
        }
        self.sets.insert(name, (kind, elements));
    }

    fn read_chain(&mut self, body: &Value) {
        let base = body.get("hook").map(|_| {
            let priority = body.get("prio").and_then(Value::as_i64).unwrap_or(i64::MIN);
            format!(
                "type {} hook {} priority {priority}; policy {}",
                text(body, "type"),
                text(body, "hook"),
                text(body, "policy"),
            )
        });
        self.chains.insert(text(body, "name"), base);
    }

    fn compare(mut self, plan: &Table, differences: &mut Vec<String>) {
        for set in &plan.sets {
            let Some((kind, live)) = self.sets.remove(&set.name) else {
                differences.push(format!("set {} is missing", set.name));
                continue;
            };
            // Versions differ in how they say that packets fill it.
            let is_counting =
                |kind: &str| set.counts && kind.starts_with(set.family.address_type());
            if is_counting(&kind) {
                continue;
            }
            if kind != set.family.address_type() {
                differences.push(format!("set {} is of type {kind}", set.name));
            }
            let planned: BTreeSet<String> = set.elements.iter().map(ToString::to_string).collect();
            for element in planned.difference(&live) {
                differences.push(format!("set {} lacks {element}", set.name));
            }
            for element in live.difference(&planned) {
                differences.push(format!("set {} also has {element}", set.name));
            }
        }
        for chain in &plan.chains {
            let Some(base) = self.chains.remove(&chain.name) else {
                differences.push(format!("chain {} is missing", chain.name));
                continue;
            };
            let planned = chain.base.as_ref().map(Base::to_string);
            if base != planned {
                let say = |base: Option<String>| base.unwrap_or_else(|| "no base chain".to_owned());
                let (is, should) = (say(base), say(planned));
                differences.push(format!("chain {} is {is}, not {should}", chain.name));
            }
            let live = self.rules.remove(&chain.name).unwrap_or_default();
            let planned: Vec<String> = chain.rules.iter().map(ToString::to_string).collect();
            compare_rules(&chain.name, &live, &planned, differences);
        }
        let names = |kind, name: &String| format!("{kind} {name} is not planned");
        differences.extend(self.sets.keys().map(|name| names("set", name)));
        differences.extend(self.chains.keys().map(|name| names("chain", name)));
        differences.extend(
            self.strange
                .iter()
                .map(|what| format!("{what} is not planned")),
        );
    }
}

fn compare_rules(chain: &str, live: &[String], planned: &[String], differences: &mut Vec<String>) {
    let pairs = live.iter().zip(planned);
    let same = pairs.take_while(|(live, planned)| live == planned).count();
    match (live.get(same), planned.get(same)) {
        (None, None) => {}
        (Some(live), Some(planned)) => differences.push(format!(
            "rule {} of chain {chain} is `{live}`, not `{planned}`",
            same + 1
        )),
        (Some(live), None) => differences.push(format!("chain {chain} also has `{live}`")),
        (None, Some(planned)) => differences.push(format!("chain {chain} lacks `{planned}`")),
    }
}

/// A rule in the words of `table.rs`; what those cannot say is shown as JSON and so never equal.
fn rule(body: &Value) -> String {
    let expressions = body.get("expr").and_then(Value::as_array);
    let words: Vec<String> = (expressions.into_iter().flatten())
        .map(|expression| statement(expression).unwrap_or_else(|| expression.to_string()))
        .collect();
    words.join(" ")
}

fn statement(expression: &Value) -> Option<String> {
    let (kind, body) = expression.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "match" => condition(body)?,
        "counter" => "counter".to_owned(),
        "reject" if body.as_object()?.len() == 1 => format!("reject with {}", text(body, "type")),
        "accept" | "drop" | "masquerade" if body.is_null() => kind.clone(),
        "jump" => format!("jump {}", text(body, "target")),
        "set" => counted(body)?,
        "mangle" => {
            let value = body.get("value")?.as_u64()?;
            format!("{} set {value:#x}", key(body.get("key")?)?)
        }
        "log" if body.as_object()?.len() == 2 => {
            let group = body.get("group")?.as_u64()?;
            format!("log prefix {} group {group}", text(body, "prefix"))
        }
        "dnat" if body.as_object()?.len() == 3 => {
            let (address, port) = (text(body, "addr"), body.get("port")?.as_u64()?);
            match text(body, "family").as_str() {
                "ip" => format!("dnat ip to {address}:{port}"),
                "ip6" => format!("dnat ip6 to [{address}]:{port}"),
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// `add @SET { ip saddr ct count over MOST }` and `add @SET { ip saddr limit rate MOST/second burst MOST }`
fn counted(body: &Value) -> Option<String> {
    let (added, set) = (key(body.get("elem")?)?, text(body, "set"));
    let [statement] = body.get("stmt")?.as_array()?.as_slice() else {
        return None;
    };
    let is_add = text(body, "op") == "add" && body.as_object()?.len() == 4;
    let counted = if let Some(limit) = statement.get("limit") {
        let (rate, burst) = (limit.get("rate")?.as_u64()?, limit.get("burst")?.as_u64()?);
        let by_second = text(limit, "per") == "second" && limit.as_object()?.len() == 3;
        by_second.then(|| format!("limit rate {rate}/second burst {burst}"))?
    } else {
        let count = statement.get("ct count")?;
        let over = count.get("inv").and_then(Value::as_bool) == Some(true);
        let most = count.get("val")?.as_u64()?;
        over.then(|| format!("ct count over {most}"))?
    };
    is_add.then(|| format!("add {set} {{ {added} {counted} }}"))
}

fn condition(body: &Value) -> Option<String> {
    let key = key(body.get("left")?)?;
    let right = body.get("right")?;
    let operator = match body.get("op")?.as_str()? {
        // For flags: one of them is set.
        "in" if key == "ct state" => "",
        "==" => "",
        "!=" => "!= ",
        _ => return None,
    };
    let value = value(&key, right)?;
    Some(format!("{key} {operator}{value}"))
}

/// What a condition looks at, or a statement sets.
fn key(left: &Value) -> Option<String> {
    let (kind, body) = left.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "meta" => match text(body, "key").as_str() {
            name @ ("iifname" | "oifname") => name.to_owned(),
            other => format!("meta {other}"),
        },
        "ct" => format!("ct {}", text(body, "key")),
        "payload" => format!("{} {}", text(body, "protocol"), text(body, "field")),
        _ => return None,
    })
}

fn value(key: &str, right: &Value) -> Option<String> {
    Some(match right {
        Value::String(word) => match (key, word.as_str()) {
            ("meta l4proto", "icmp") => "1".to_owned(),
            ("meta l4proto", "tcp") => "6".to_owned(),
            ("meta l4proto", "ipv6-icmp" | "icmpv6") => "58".to_owned(),
            ("icmp type" | "icmpv6 type", name) => {
                let (_, number) = ICMP_TYPES.iter().find(|(k, _)| *k == (key, name))?;
                number.to_string()
            }
            _ => word.clone(),
        },
        Value::Number(number) if key.ends_with("mark") => format!("{:#x}", number.as_u64()?),
        Value::Number(number) => number.to_string(),
        Value::Array(words) => {
            let mut words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            words.sort_unstable();
            words.join(",")
        }
        // Newer versions say a set where 1.0 says a list.
        Value::Object(object) if object.contains_key("set") => value(key, object.get("set")?)?,
        Value::Object(object) => {
            let prefix = object.get("prefix")?;
            format!("{}/{}", text(prefix, "addr"), prefix.get("len")?)
        }
        Value::Null | Value::Bool(_) => return None,
    })
}

fn text(body: &Value, field: &str) -> String {
    let value = body.get(field).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

/// Absolute, so that no search path decides which program judges.
const TOOLS: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// Differences that are told.
const MAX_DIFFERENCES: usize = 20;
/// Names of ICMP types in nft.
const ICMP_TYPES: [((&str, &str), u8); 8] = [
    (("icmp type", "echo-request"), 8),
    (("icmpv6 type", "echo-request"), 128),
    (("icmpv6 type", "mld-listener-query"), 130),
    (("icmpv6 type", "nd-router-solicit"), 133),
    (("icmpv6 type", "nd-router-advert"), 134),
    (("icmpv6 type", "nd-neighbor-solicit"), 135),
    (("icmpv6 type", "nd-neighbor-advert"), 136),
    (("icmpv6 type", "mld2-listener-report"), 143),
];
