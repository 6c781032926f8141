//! What the world of enrolment has beside that of the gateway: a home outside, and a listener for it.

use std::process::Command;

use super::world;

/// Where devices are, as their gateway sees it.
pub(super) const HOME: &str = "/run/netns/home";
pub(super) const URL: &str = "https://192.0.2.1:8443";

const LINKS: &str = "
ip netns add home
ip link add wan0 type veth peer name wan1 netns home
ip addr add 192.0.2.1/24 dev wan0
ip link set wan0 up
nsenter --net=/run/netns/home ip addr add 192.0.2.7/24 dev wan1
nsenter --net=/run/netns/home ip addr add 192.0.2.8/24 dev wan1
nsenter --net=/run/netns/home ip link set wan1 up
";

const CONFIG: &str = r#"schema = 1
[gateway]
name = "test"
state_dir = "/run/state"
runtime_dir = "/run/lazaret"
[tunnel.wireguard]
listen = "[::]:51820"
interface = "lz-wg"
private_key_file = "wireguard.key"
networks = ["10.64.0.0/16"]
[hospital]
interface = "lan0"
mode = "snat"
[limits]
relay_workers = 1
[audit]
directory = "/run/state/audit"
[pki]
server_names = ["gw.example.org", "192.0.2.1"]
[enrol]
addresses = ["10.64.64.0/24"]
listen = "192.0.2.1:8443"
[service.his]
address = "10.20.2.10:2575"
protocol = "hl7"
[role.ecg-home]
[rule.results]
from = ["role:ecg-home"]
to = ["his"]
hl7 = { send = ["ORU^R01"], bind_sender = false }
"#;

pub(super) fn prepare() {
    world::prepare();
    let output = world::run(Command::new("sh").args(["-ec", LINKS]));
    assert!(output.status.success(), "{}", world::said(&output));
    world::write(CONFIG);
}
