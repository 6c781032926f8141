//! Devices whose words break every rule, for minutes: what the tunnel's process keeps of them.

use std::time::{Duration, Instant};

use e2e::desk::{Desk, PATIENCE};
use e2e::{Clinic, Lab, Place, Process, hl7, memory, peer_program, peer_script, wait, wan4};

use crate::length;

/// What each attacker does again and again, until all that it knows is done.
const ATTACKS: [&[&str]; 3] = [
    &["all-0-2", "request-nothing*100", "unknown-streams"],
    &["all-1-2", "fields-dynamic*100", "stream-gaps*10"],
    &["stall*200", "crypto-gaps*10", "path-challenges*10"],
];
/// A round of an attacker takes this long at most, on a busy machine.
const ROUND: Duration = Duration::from_secs(600);
/// What the process may grow by after the first round.
const GROWTH: u64 = 32 << 10;

fn attack(lab: &Lab, number: usize, round: usize) -> Process {
    let own = Desk::new(lab, Place::Home2, &format!("desk-{number}")).own();
    let ca = lab.folder("certificates").join("ca.pem");
    let mut command = lab.command(Place::Home2, peer_program("python"));
    command.arg(peer_script("hostile.py"));
    command.args(["--server", &format!("{}:443", wan4().ip())]);
    command.args(["--name", "gateway.example.org", "--ca"]);
    command.arg(ca).arg("--cert").arg(&own);
    command.arg("--key").arg(&own).args(ATTACKS[number]);
    Process::start(
        &format!("hostile-{number}-{round}"),
        lab.directory(),
        command,
    )
}

//= C7
//= C8
#[test]
fn attacks_leave_nothing_behind() {
    Lab::run(|lab| {
        let clinic = Clinic::open_for_desks(lab, "");
        for number in 0..ATTACKS.len() {
            let desk = Desk::new(lab, Place::Home2, &format!("desk-{number}"));
            let sender = format!("DESK^{number}");
            let _ = desk.enrol(&clinic.gateway, &sender, &["--approve"]).ok();
        }
        let good = Desk::new(lab, Place::Clinician, "desk-9");
        let _ = good
            .enrol(&clinic.gateway, "DESK^NINE", &["--approve"])
            .ok();
        let _tunnel = good.connect();
        let mut his = good.mllp().unwrap();
        let workers = clinic.gateway.workers();
        let used = || memory(workers["tunnel-quic"]).0;
        let (begun, mut after_first) = (Instant::now(), None);
        println!("before: {} KiB", used());
        for round in 1.. {
            let attackers = 0..ATTACKS.len();
            let all: Vec<Process> = attackers.map(|n| attack(lab, n, round)).collect();
            let mut exchanged = 0;
            wait::for_true("the end of a round", ROUND, || {
                exchanged += 1;
                let control = format!("R{round}N{exchanged}");
                let answer = his.exchange(&hl7::oru_from("DESK|NINE", &control));
                assert_eq!(answer.code, "AA", "{control}");
                all.iter().all(|one| one.output().ends_with("end\n"))
            });
            let (now, records) = (used(), clinic.gateway.journal().len());
            println!("round {round}: {now} KiB, {records} records, {exchanged} exchanges");
            let first = *after_first.get_or_insert(now);
            assert!(now < first + GROWTH, "grew from {first} to {now} KiB");
            if begun.elapsed() > length() {
                break;
            }
        }
        assert_eq!(clinic.gateway.workers(), workers, "a worker was restarted");
        // Whoever attacked comes in as before, as soon as it may.
        wait::for_true("an attacker that stopped", PATIENCE, || {
            let desk = Desk::new(lab, Place::Home2, "desk-0");
            let own = desk.own().display().to_string();
            let mut client = desk.client("after", &own, &[]);
            wait::until("its fate", PATIENCE, || {
                let said = client.output();
                let over = client.ended().is_some();
                (said.contains("up") || over).then(|| said.contains("up"))
            })
        });
    });
}
