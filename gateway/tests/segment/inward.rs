//! What services in the hospital dial: the doors of devices that a rule opens, and no others.

use lazaret::flow::Standing;
use lazaret::segment::changes::cuts;
use lazaret::segment::conntrack;
use lazaret::segment::plan::Plan;
use lazaret_config::HospitalMode;

use crate::fixture::{self, at};
use crate::world::{self, Flow, allowed, apply, denied, facts, prepare, shell};
use crate::{LONG, SHORT};

/// A service dials what a rule lets it; its neighbours, other ports and other devices stay closed.
//= C3 C9
#[test]
fn a_service_dials_what_a_rule_names_and_nothing_else() {
    for (mode, test) in [
        (
            HospitalMode::Snat,
            "inward::a_service_dials_what_a_rule_names_and_nothing_else",
        ),
        (
            HospitalMode::Routed,
            "inward::a_service_dials_what_a_rule_names_and_nothing_else",
        ),
    ] {
        // A world serves one mode: the other one is the next.
        let snat = mode == HospitalMode::Snat;
        if std::env::var_os("LAZARET_WORLD").is_some()
            && std::env::var_os("LAZARET_ROUTED").is_some() == snat
        {
            continue;
        }
        world::world_with(test, (!snat).then_some("LAZARET_ROUTED"), || dialling(mode));
    }
}

/// What an interface with leased addresses needs is read back as it was planned.
#[test]
fn leases_are_read_back_as_planned() {
    world::world("inward::leases_are_read_back_as_planned", || {
        let mut config = fixture::small(HospitalMode::Snat);
        config.appliance = fixture::appliance("[appliance.interface.lan0]\ndhcp = true\n");
        prepare(&config);
        apply(&Plan::new(&config, &facts()));
        let input = shell("nft list chain inet lazaret input");
        let offer = "iifname \"lan0\" ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept";
        assert!(input.contains(offer), "{input}");
        config.appliance = None;
        apply(&Plan::new(&config, &facts()));
        let input = shell("nft list chain inet lazaret input");
        assert!(!input.contains("dport 546"), "{input}");
    });
}

fn dialling(mode: HospitalMode) {
    let config = fixture::archive(mode);
    prepare(&config);
    let plan = Plan::new(&config, &facts());
    apply(&plan);
    shell(
        "ip -n hospital addr add 10.20.1.11/16 dev eth0; ip -n hospital addr add fd20::11/64 dev eth0 nodad",
    );
    for listener in ["10.64.255.254:7000", "[fd64::ffff]:7000"] {
        world::serve("", at(listener));
    }
    for port in [11112, 104, 22] {
        world::serve("device", at(&format!("[::]:{port}")));
    }
    let (first, second, six) = match mode {
        HospitalMode::Snat => ("10.20.0.1:11207", "10.20.0.1:11208", "[fd20::1]:11207"),
        HospitalMode::Routed => ("10.64.0.1:11112", "10.64.0.2:104", "[fd64::1]:11112"),
    };
    for to in [first, second] {
        let said = allowed("hospital", "10.20.1.10", to);
        assert_eq!(said, format!("10.20.1.10 called {to}"));
        denied("hospital", "10.20.1.11", to);
    }
    let said = allowed("hospital", "fd20::10", six);
    assert_eq!(said, format!("fd20::10 called {six}"));
    denied("hospital", "fd20::11", six);
    for to in [
        "10.20.0.1:11112",
        "10.20.0.1:22",
        "10.64.0.1:22",
        "10.64.0.1:104",
        "10.64.0.3:11112",
        "10.64.255.254:7000",
    ] {
        denied("hospital", "10.20.1.10", to);
    }
    // The gateway goes on to where the device accepts, and nowhere else.
    let said = allowed("", "10.64.255.254", "10.64.0.1:11112");
    assert_eq!(said, "10.64.255.254 called 10.64.0.1:11112");
    assert!(Flow::dial("", "fd64::ffff", "[fd64::1]:11112").is_ok());
    for to in [
        "10.64.0.1:22",
        "10.64.0.1:104",
        "10.64.0.3:11112",
        "10.64.0.2:11112",
    ] {
        denied("", "10.64.255.254", to);
    }
    // A device does not come in by the way of its answers.
    denied("device", "10.64.0.1", "10.64.255.254:7000");
    // Both legs end with the rule.
    let mut legs = [
        Flow::dial("hospital", "10.20.1.10", first).unwrap(),
        Flow::dial("", "10.64.255.254", "10.64.0.1:11112").unwrap(),
        Flow::dial("hospital", "10.20.1.10", second).unwrap(),
    ];
    let mut facts = facts();
    (facts.standing).insert("us-1".parse().unwrap(), Standing::Quarantined);
    let next = Plan::new(&config, &facts);
    apply(&next);
    conntrack::cut(&cuts(&plan, &next)).unwrap();
    let [knock, dial, other] = &mut legs;
    assert!(!knock.lives(SHORT) && !dial.lives(SHORT));
    assert!(other.lives(LONG), "the other device is not harmed");
    denied("hospital", "10.20.1.10", first);
}
