//! What becomes different from one plan to the next: which live flows must end, and what to tell people.
//!
//! In: two plans. Out: [`Cut`]s for `conntrack.rs` (and for whoever holds inspected connections), sentences.
//! Pure, and linear in the number of devices. Knows nothing of which flows are really alive.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lazaret_config::{Party, Transport};

use crate::flow::DeviceName;
use crate::flow::Standing;
use crate::segment::flows::FlowKey;
use crate::segment::plan::{Endpoint, Grant, Grants, Member, Plan, Treatment, party_name};
use crate::segment::table::Family;

/// Flows that must not go on.
///
/// The relay has its own leg of an inspected flow: whoever cuts must tell it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cut {
    /// All flows of an address, in either direction.
    Device {
        /// The tunnel address.
        address: IpAddr,
    },
    /// The flows of an address to one service.
    Service {
        /// The tunnel address.
        device: IpAddr,
        /// The service, as the device names it.
        service: SocketAddr,
        /// TCP or UDP.
        transport: Transport,
    },
    /// One flow.
    Flow(FlowKey),
    /// The connections of a service to what it dials for a device.
    Knock {
        /// The service's own address.
        from: IpAddr,
        /// What it dials.
        dialled: SocketAddr,
    },
    /// The connections of the gateway to where a device accepts them.
    Dial {
        /// The device's address and port.
        device: SocketAddr,
    },
}

/// The flows whose treatment is not the same under the new plan.
#[must_use]
pub fn cuts(old: &Plan, new: &Plan) -> Vec<Cut> {
    let mut cuts = cuts_of_services(old, new);
    let changed = changed_parties(old, new);
    for (name, before) in &old.devices {
        if !before.lives() {
            continue;
        }
        let same = |after: &&Member| after.lives() && after.standing == before.standing;
        let after = new.devices.get(name).filter(same);
        let (kept, lost): (Vec<IpAddr>, Vec<IpAddr>) = (before.addresses.iter()).partition(|a| {
            old.mode == new.mode && after.is_some_and(|after| after.addresses.contains(a))
        });
        cuts.extend(lost.into_iter().map(|address| Cut::Device { address }));
        let Some(after) = after else { continue };
        if before.parties == after.parties && before.parties.is_disjoint(&changed) {
            continue;
        }
        let may = effective(new, after);
        for (endpoint, grant) in effective(old, before) {
            if may.get(&endpoint).map(|new| new.treatment) == Some(grant.treatment) {
                continue;
            }
            let family = Family::of(endpoint.address.ip());
            let of_family = |address: &&IpAddr| Family::of(**address) == family;
            cuts.extend(kept.iter().filter(of_family).map(|device| Cut::Service {
                device: *device,
                service: endpoint.address,
                transport: endpoint.transport,
            }));
        }
    }
    cuts.into_iter().collect()
}

/// What services dialled and may dial no longer, or not in the same way.
//= C9
fn cuts_of_services(old: &Plan, new: &Plan) -> BTreeSet<Cut> {
    let mut cuts = BTreeSet::new();
    let kept: BTreeSet<SocketAddr> = new.inward.values().map(|inward| inward.accepts).collect();
    for (knock, before) in &old.inward {
        if old.mode == new.mode && new.inward.get(knock) == Some(before) {
            continue;
        }
        cuts.insert(Cut::Knock {
            from: knock.from,
            dialled: knock.dialled,
        });
        if !kept.contains(&before.accepts) {
            cuts.insert(Cut::Dial {
                device: before.accepts,
            });
        }
    }
    cuts
}

/// Addresses that belong to another device than before. Hold them in a first apply (`Facts::held`), so that
/// no flow of the former device is taken for one of the new.
#[must_use]
pub fn moved(old: &Plan, new: &Plan) -> BTreeSet<IpAddr> {
    let before: BTreeMap<IpAddr, &DeviceName> = owners(old).collect();
    owners(new)
        .filter(|(address, name)| before.get(address).is_some_and(|owner| owner != name))
        .map(|(address, _)| address)
        .collect()
}

/// Who gains and loses what, in sentences; at most [`MAX_SENTENCES`] and one that says how many more there are.
#[must_use]
pub fn describe(old: &Plan, new: &Plan) -> Vec<String> {
    let mut said = Sentences::default();
    if old.mode != new.mode {
        said.say(|| format!("devices appear in the hospital as {:?}", new.mode).to_lowercase());
    }
    let parties: BTreeSet<&Party> = old.grants.keys().chain(new.grants.keys()).collect();
    for party in parties {
        describe_party(
            party,
            old.grants.get(party),
            new.grants.get(party),
            &mut said,
        );
    }
    let names: BTreeSet<&DeviceName> = old.devices.keys().chain(new.devices.keys()).collect();
    for name in names {
        describe_device(
            name,
            old.devices.get(name),
            new.devices.get(name),
            &mut said,
        );
    }
    describe_services(old, new, &mut said);
    said.finish()
}

fn describe_services(old: &Plan, new: &Plan, said: &mut Sentences) {
    let pairs = |plan: &Plan| -> BTreeSet<(String, String)> {
        let all = plan.inward.values();
        all.map(|one| (one.service.to_string(), one.device.to_string()))
            .collect()
    };
    let (old, new) = (pairs(old), pairs(new));
    for (service, device) in new.difference(&old) {
        said.say(|| format!("service {service} may now dial device {device}, inspected"));
    }
    for (service, device) in old.difference(&new) {
        said.say(|| format!("service {service} may no longer dial device {device}"));
    }
}

fn describe_party(party: &Party, old: Option<&Grants>, new: Option<&Grants>, said: &mut Sentences) {
    let none = Grants::new();
    let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
    let named = || party_name(party).replacen('/', " ", 1);
    let who = lazaret_config::contained_party(party).unwrap_or_else(named);
    let endpoints: BTreeSet<&Endpoint> = old.keys().chain(new.keys()).collect();
    for at in endpoints {
        match (old.get(at), new.get(at)) {
            (None, Some(grant)) => {
                said.say(|| format!("{who} may now reach {}", place(at, grant)));
            }
            (Some(grant), None) => {
                said.say(|| format!("{who} may no longer reach {}", place(at, grant)));
            }
            (Some(before), Some(after)) if kind(before) != kind(after) => {
                said.say(|| {
                    let was = kind(before);
                    format!("{who} reaches {} (was {was})", place(at, after))
                });
            }
            _ => {}
        }
    }
}

fn describe_device(
    name: &DeviceName,
    old: Option<&Member>,
    new: Option<&Member>,
    said: &mut Sentences,
) {
    let (old, new) = match (old, new) {
        (None, None) => return,
        (None, Some(_)) => return said.say(|| format!("device {name} is new")),
        (Some(_), None) => return said.say(|| format!("device {name} is no longer known")),
        (Some(old), Some(new)) => (old, new),
    };
    if old.standing != new.standing {
        said.say(|| {
            let how = match new.standing {
                Standing::Active => "is active again",
                Standing::Quarantined if new.lives() => {
                    "is in quarantine, but for what is left to it"
                }
                Standing::Quarantined => "is in quarantine",
                Standing::Revoked => "is revoked",
                Standing::Pending => "waits to be approved",
                Standing::Expired => "is expired",
            };
            format!("device {name} {how}")
        });
    }
    let own = Party::Device(name.clone());
    let said_of = |party: &&Party| {
        let contained = lazaret_config::contained_party(party).is_some();
        **party != own && !contained && new.standing == old.standing
    };
    for party in new.parties.difference(&old.parties).filter(|p| said_of(p)) {
        said.say(|| format!("device {name} joins {}", party_name(party)));
    }
    for party in old.parties.difference(&new.parties).filter(|p| said_of(p)) {
        said.say(|| format!("device {name} leaves {}", party_name(party)));
    }
    if old.addresses != new.addresses {
        said.say(|| format!("device {name} has other addresses"));
    }
}

fn place(at: &Endpoint, grant: &Grant) -> String {
    let transport = match at.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let port = at.address.port();
    format!("{} at {transport}/{port}, {}", grant.service, kind(grant))
}

fn kind(grant: &Grant) -> &'static str {
    match grant.treatment {
        Treatment::Forwarded => "forwarded",
        Treatment::Steered { .. } => "inspected",
    }
}

/// Parties whose grants are not the same.
fn changed_parties(old: &Plan, new: &Plan) -> BTreeSet<Party> {
    let parties = old.grants.keys().chain(new.grants.keys());
    parties
        .filter(|party| old.grants.get(*party) != new.grants.get(*party))
        .cloned()
        .collect()
}

/// What a device may reach by all its parties; the first that inspects wins, as in the table.
fn effective<'a>(plan: &'a Plan, member: &Member) -> BTreeMap<Endpoint, &'a Grant> {
    let mut all: BTreeMap<Endpoint, &Grant> = BTreeMap::new();
    let of_parties = member
        .parties
        .iter()
        .filter_map(|party| plan.grants.get(party));
    for (endpoint, grant) in of_parties.flatten() {
        let at = all.entry(*endpoint).or_insert(grant);
        // Steering happens before forwarding.
        if at.treatment == Treatment::Forwarded {
            *at = grant;
        }
    }
    all
}

fn owners(plan: &Plan) -> impl Iterator<Item = (IpAddr, &DeviceName)> {
    (plan.devices.iter())
        .flat_map(|(name, member)| member.addresses.iter().map(move |address| (*address, name)))
}

/// Sentences up to a bound.
#[derive(Default)]
struct Sentences {
    said: Vec<String>,
    more: usize,
}

impl Sentences {
    fn say(&mut self, sentence: impl FnOnce() -> String) {
        if self.said.len() < MAX_SENTENCES {
            self.said.push(sentence());
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.said.push(format!("and {} more changes", self.more));
        }
        self.said
    }
}

/// Most sentences of [`describe`].
pub const MAX_SENTENCES: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test measures time")]

    use std::time::Instant;

    use lazaret_config::{Config, HospitalMode};

    use super::*;
    use crate::segment::fixture::{at, device, empty, hl7, ip, plain, rule, small};
    use crate::segment::plan::{Facts, Listeners};

    fn facts() -> Facts {
        Facts {
            now: "2026-11-24T11:00:00Z".parse().unwrap(),
            standing: BTreeMap::new(),
            listeners: Listeners {
                v4: Some(at("10.64.255.254:7000")),
                v6: Some(at("[fd64::ffff]:7000")),
            },
            udp_port: 51820,
            held: BTreeSet::new(),
        }
    }

    /// Cuts and sentences of a change to the small gateway.
    fn change(edit: impl FnOnce(&mut Config, &mut Facts)) -> (Vec<Cut>, Vec<String>) {
        let mut config = small(HospitalMode::Snat);
        let old = Plan::new(&config, &facts());
        let mut facts = facts();
        edit(&mut config, &mut facts);
        let new = Plan::new(&config, &facts);
        assert!(cuts(&new, &new).is_empty() && describe(&new, &new).is_empty());
        (cuts(&old, &new), describe(&old, &new))
    }

    fn both(v4: &str, v6: &str) -> Vec<Cut> {
        [v4, v6].map(|a| Cut::Device { address: ip(a) }).to_vec()
    }

    fn service(device: &str, service: &str) -> Cut {
        Cut::Service {
            device: ip(device),
            service: at(service),
            transport: Transport::Tcp,
        }
    }

    #[test]
    fn a_new_device_and_a_new_rule_cut_nothing() {
        let (cuts, said) = change(|config, _| {
            device(config, "ecg-3", &["10.64.0.4"], &["ecg"]);
            rule(config, "more", &["role:ecg"], &["console"]);
        });
        assert!(cuts.is_empty());
        let console = "role ecg may now reach console at tcp/3389, forwarded";
        assert_eq!(said, [console, "device ecg-3 is new"]);
    }

    #[test]
    fn a_device_that_is_removed_quarantined_or_revoked_loses_every_flow() {
        let all = both("10.64.0.1", "fd64::1");
        let name: DeviceName = "ecg-1".parse().unwrap();
        for standing in [Standing::Quarantined, Standing::Revoked] {
            let (cuts, _) = change(|_, facts| {
                facts.standing.insert(name.clone(), standing);
            });
            assert_eq!(cuts, all);
        }
        let (cuts, said) = change(|config, _| drop(config.devices.remove(&name)));
        assert_eq!(cuts, all);
        assert_eq!(said, ["device ecg-1 is no longer known"]);
    }

    //= C9
    #[test]
    fn what_is_left_in_quarantine_begins_and_ends_with_it() {
        let ecg: DeviceName = "ecg-1".parse().unwrap();
        let mut config = small(HospitalMode::Snat);
        (config.quarantine.services).insert("console".parse().unwrap());
        let active = Plan::new(&config.clone().contained([].into(), &[]), &facts());
        let mut facts = facts();
        (facts.standing).insert(ecg.clone(), Standing::Quarantined);
        let shut = Plan::new(&config.contained([ecg].into(), &[]), &facts);
        let all = both("10.64.0.1", "fd64::1");
        assert_eq!(cuts(&active, &shut), all);
        assert_eq!(cuts(&shut, &active), all);
        let said = ["device ecg-1 is in quarantine, but for what is left to it"];
        assert_eq!(describe(&active, &shut), said);
        assert_eq!(describe(&shut, &active), ["device ecg-1 is active again"]);
    }

    #[test]
    fn an_exception_cuts_nothing_when_it_begins_and_its_own_flows_when_it_ends() {
        let config = small(HospitalMode::Snat);
        let exception = lazaret_config::Exception {
            number: 3,
            device: "ecg-1".parse().unwrap(),
            service: "console".parse().unwrap(),
            in_quarantine: false,
        };
        let before = Plan::new(&config, &facts());
        let open = Plan::new(&config.contained([].into(), &[exception]), &facts());
        assert!(cuts(&before, &open).is_empty());
        assert_eq!(
            cuts(&open, &before),
            [service("10.64.0.1", "10.20.1.10:3389")]
        );
        let said = describe(&before, &open);
        assert_eq!(
            said,
            ["break-glass access 3 may now reach console at tcp/3389, forwarded"]
        );
    }

    #[test]
    fn a_lost_role_cuts_what_no_other_role_gives() {
        let name: DeviceName = "ws-1".parse().unwrap();
        let (cuts, said) = change(|config, _| {
            config.devices.get_mut(&name).unwrap().roles.clear();
        });
        assert_eq!(
            cuts,
            [
                service("10.64.0.3", "10.20.1.10:3389"),
                service("fd64::3", "[fd20::10]:3389"),
            ]
        );
        assert_eq!(said, ["device ws-1 leaves role/radiologist"]);
        let (cuts, _) = change(|config, _| {
            config.devices.get_mut(&name).unwrap().roles.clear();
            rule(config, "own", &["device:ws-1"], &["console", "console-v6"]);
        });
        assert!(
            cuts.is_empty(),
            "forwarding has no memory of the role: {cuts:?}"
        );
    }

    #[test]
    fn a_steered_flow_is_cut_when_another_role_steers_it() {
        let (cuts, _) = change(|config, _| {
            let name = "ecg-1".parse().unwrap();
            let device = config.devices.get_mut(&name).unwrap();
            device.roles = [("monitor".parse().unwrap())].into();
            rule(config, "monitors", &["role:monitor"], &["his"]);
        });
        let gone = service("fd64::1", "[fd20::10]:2575");
        assert_eq!(cuts, [service("10.64.0.1", "10.20.1.10:2575"), gone]);
    }

    #[test]
    fn inspection_that_begins_or_ends_cuts() {
        let (cuts, said) = change(|config, _| hl7(config, "console", "10.20.1.10", 3389));
        assert_eq!(cuts, [service("10.64.0.3", "10.20.1.10:3389")]);
        let console = "role radiologist reaches console at tcp/3389, inspected (was forwarded)";
        assert_eq!(said, [console]);
        let (cuts, _) =
            change(|config, _| plain(config, "his", "10.20.1.10", &[(Transport::Tcp, 2575)]));
        let his = ["10.64.0.1", "10.64.0.2"].map(|device| service(device, "10.20.1.10:2575"));
        assert_eq!(cuts, his);
    }

    #[test]
    fn another_listener_cuts_what_was_steered_to_the_old_one() {
        let (cuts, said) = change(|_, facts| facts.listeners.v6 = Some(at("[fd64::ffff]:7001")));
        let his = ["fd64::1", "fd64::2"].map(|device| service(device, "[fd20::10]:2575"));
        assert_eq!(cuts, his);
        assert!(said.is_empty(), "nobody gains or loses: {said:?}");
    }

    //= C9
    #[test]
    fn what_a_service_dialled_is_cut_when_it_may_not_any_more() {
        let config = crate::segment::fixture::archive(HospitalMode::Snat);
        let old = Plan::new(&config, &facts());
        assert!(cuts(&old, &old).is_empty() && describe(&old, &old).is_empty());
        let mut facts = facts();
        (facts.standing).insert("us-1".parse().unwrap(), Standing::Quarantined);
        let new = Plan::new(&config, &facts);
        let knock = |from, dialled| Cut::Knock {
            from: ip(from),
            dialled: at(dialled),
        };
        let dial = |device| Cut::Dial { device: at(device) };
        let cut = cuts(&old, &new);
        for expected in [
            knock("10.20.1.10", "10.20.0.1:11207"),
            knock("fd20::10", "[fd20::1]:11207"),
            dial("10.64.0.1:11112"),
            dial("[fd64::1]:11112"),
        ] {
            assert!(cut.contains(&expected), "{expected:?} of {cut:?}");
        }
        assert!(!cut.contains(&dial("10.64.0.2:104")), "{cut:?}");
        let said = describe(&old, &new).join("\n");
        assert!(
            said.contains("service pacs may no longer dial device us-1"),
            "{said}"
        );
    }

    #[test]
    fn an_address_that_moves_is_cut_and_told() {
        let mut config = small(HospitalMode::Snat);
        let old = Plan::new(&config, &facts());
        config.devices.remove(&"ecg-1".parse().unwrap());
        device(&mut config, "ecg-9", &["10.64.0.1"], &["ecg"]);
        let new = Plan::new(&config, &facts());
        assert_eq!(moved(&old, &new), BTreeSet::from([ip("10.64.0.1")]));
        assert_eq!(cuts(&old, &new), both("10.64.0.1", "fd64::1"));
    }

    #[test]
    fn ten_thousand_devices_take_no_time_and_few_words() {
        let mut config = empty(HospitalMode::Snat);
        for i in 0..10_000u32 {
            let address = format!("10.64.{}.{}", i / 250, i % 250 + 1);
            device(
                &mut config,
                &format!("d{i}"),
                &[&address],
                &[&format!("r{}", i % 20)],
            );
        }
        hl7(&mut config, "his", "10.20.1.10", 2575);
        let roles: Vec<String> = (0..20).map(|i| format!("role:r{i}")).collect();
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        rule(&mut config, "all", &roles, &["his"]);
        let old = Plan::new(&config, &facts());
        config.rules.clear();
        let new = Plan::new(&config, &facts());
        let begin = Instant::now();
        assert_eq!(cuts(&old, &new).len(), 10_000);
        config.devices.clear();
        let said = describe(&old, &Plan::new(&config, &facts()));
        assert!(begin.elapsed().as_secs() < 5);
        assert_eq!(said.len(), MAX_SENTENCES + 1);
        assert_eq!(said.last().unwrap(), "and 9920 more changes");
    }
}
