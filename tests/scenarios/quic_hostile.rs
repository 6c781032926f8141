//! Devices whose certificate is right and whose words are not: each rule of QUIC, HTTP/3, QPACK and CONNECT-IP broken by
//! a client that is not ours, which says what code it was told.
//!
//! What the gateway must answer is written here from the RFCs, and not taken from the code that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use e2e::{
    CONSOLE, Clinic, HIS, Lab, PACS, Place, Process, Watch, hl7, memory, peer_program, peer_script,
    text, wait, wan4,
};
use serde_json::Value;

use super::quic::{NAME, connect, enrol, file, folder, mllp, tunnels};
use super::tunnel_hostile::{ipv4, ipv6, udp4, udp6};

const SITE: &str = r#"
[tunnel.quic]
listen = "[::]:443"
interface = "lz-quic"
networks = ["10.65.0.0/16", "fd65::/64"]

[pki]
server_names = ["gateway.example.org"]
"#;
/// For a hundred connections of a program that is not fast, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);
/// What the process may grow by: allocators keep what they had once.
const GROWTH: u64 = 48 << 10;

/// RFC 9000 20.1, RFC 9114 8.1, RFC 9204 6, RFC 9297 5.2.
const CODES: [(&str, u64); 21] = [
    ("INTERNAL_ERROR", 0x01),
    ("FLOW_CONTROL_ERROR", 0x03),
    ("STREAM_LIMIT_ERROR", 0x04),
    ("STREAM_STATE_ERROR", 0x05),
    ("FINAL_SIZE_ERROR", 0x06),
    ("FRAME_ENCODING_ERROR", 0x07),
    ("CONNECTION_ID_LIMIT_ERROR", 0x09),
    ("PROTOCOL_VIOLATION", 0x0a),
    ("CRYPTO_BUFFER_EXCEEDED", 0x0d),
    ("H3_DATAGRAM_ERROR", 0x33),
    ("H3_STREAM_CREATION_ERROR", 0x103),
    ("H3_CLOSED_CRITICAL_STREAM", 0x104),
    ("H3_FRAME_UNEXPECTED", 0x105),
    ("H3_FRAME_ERROR", 0x106),
    ("H3_EXCESSIVE_LOAD", 0x107),
    ("H3_ID_ERROR", 0x108),
    ("H3_SETTINGS_ERROR", 0x109),
    ("H3_MISSING_SETTINGS", 0x10a),
    ("H3_REQUEST_INCOMPLETE", 0x10d),
    ("H3_MESSAGE_ERROR", 0x10e),
    ("QPACK_DECOMPRESSION_FAILED", 0x200),
];
const ENCODER: (&str, u64) = ("QPACK_ENCODER_STREAM_ERROR", 0x201);
const DECODER: (&str, u64) = ("QPACK_DECODER_STREAM_ERROR", 0x202);

/// What becomes of each attack of `hostile.py`, by its name; `closed` and `reset` with a code.
const VERDICTS: &str = "
    first-no-settings   closed H3_MISSING_SETTINGS
    settings-twice      closed H3_FRAME_UNEXPECTED
    settings-of-http2   closed H3_SETTINGS_ERROR
    setting-twice       closed H3_SETTINGS_ERROR
    setting-not-a-flag  closed H3_SETTINGS_ERROR
    setting-cut         closed H3_FRAME_ERROR
    settings-endless    closed H3_EXCESSIVE_LOAD
    control-data        closed H3_FRAME_UNEXPECTED
    control-headers     closed H3_FRAME_UNEXPECTED
    control-http2-ping  closed H3_FRAME_UNEXPECTED
    goaway-grows        closed H3_ID_ERROR
    goaway-two-numbers  closed H3_FRAME_ERROR
    goaway-no-number    closed H3_FRAME_ERROR
    max-push-shrinks    closed H3_ID_ERROR
    cancel-push         closed H3_ID_ERROR
    control-fin         closed H3_CLOSED_CRITICAL_STREAM
    control-reset       closed H3_CLOSED_CRITICAL_STREAM
    control-stopped     closed H3_CLOSED_CRITICAL_STREAM
    second-control      closed H3_STREAM_CREATION_ERROR
    push-stream         closed H3_STREAM_CREATION_ERROR
    unknown-frames      closed H3_EXCESSIVE_LOAD
    unknown-streams     alive
    encoder-capacity    closed QPACK_ENCODER_STREAM_ERROR
    encoder-insert      closed QPACK_ENCODER_STREAM_ERROR
    encoder-fin         closed H3_CLOSED_CRITICAL_STREAM
    decoder-ack         closed QPACK_DECODER_STREAM_ERROR
    fields-dynamic      closed QPACK_DECOMPRESSION_FAILED
    fields-index        closed QPACK_DECOMPRESSION_FAILED
    fields-cut          closed QPACK_DECOMPRESSION_FAILED
    fields-huffman      closed QPACK_DECOMPRESSION_FAILED
    fields-endless      closed H3_EXCESSIVE_LOAD
    pseudo-twice        reset H3_MESSAGE_ERROR
    pseudo-late         reset H3_MESSAGE_ERROR
    upper-case          reset H3_MESSAGE_ERROR
    of-http1            reset H3_MESSAGE_ERROR
    no-path             reset H3_MESSAGE_ERROR
    no-headers          reset H3_REQUEST_INCOMPLETE
    data-first          closed H3_FRAME_UNEXPECTED
    settings-in-request closed H3_FRAME_UNEXPECTED
    promise             closed H3_FRAME_UNEXPECTED
    frame-cut           closed H3_FRAME_ERROR
    connect-udp         status 501
    websocket           status 501
    get                 status 404
    another-target      status 404
    second-tunnel       status 409
    headers-in-tunnel   closed H3_FRAME_UNEXPECTED
    request-version     closed H3_MESSAGE_ERROR
    request-nothing     closed H3_MESSAGE_ERROR
    request-twice       closed H3_MESSAGE_ERROR
    request-prefix      closed H3_MESSAGE_ERROR
    request-many        closed H3_EXCESSIVE_LOAD
    assign-cut          closed H3_MESSAGE_ERROR
    routes-order        closed H3_MESSAGE_ERROR
    routes-backwards    closed H3_MESSAGE_ERROR
    capsule-endless     closed H3_EXCESSIVE_LOAD
    capsule-cut         closed H3_MESSAGE_ERROR
    capsule-no-context  closed H3_DATAGRAM_ERROR
    unknown-capsules    closed H3_EXCESSIVE_LOAD
    datagram-empty      closed H3_DATAGRAM_ERROR
    datagram-cut        closed H3_DATAGRAM_ERROR
    datagram-no-stream  closed H3_DATAGRAM_ERROR
    datagram-no-context closed H3_DATAGRAM_ERROR
    datagram-other-stream alive
    datagram-garbage    alive
    stream-limit        closed STREAM_LIMIT_ERROR
    stream-window       closed FLOW_CONTROL_ERROR
    final-size          closed FINAL_SIZE_ERROR
    not-its-stream      closed STREAM_STATE_ERROR
    window-of-mine      closed STREAM_STATE_ERROR
    unknown-quic-frame  closed FRAME_ENCODING_ERROR
    handshake-done      closed PROTOCOL_VIOLATION
    new-token           closed PROTOCOL_VIOLATION
    retire-unknown      closed PROTOCOL_VIOLATION
    cids-too-many       closed CONNECTION_ID_LIMIT_ERROR
    cids-retired        sent
    path-challenges     alive
    crypto-window       closed CRYPTO_BUFFER_EXCEEDED
    crypto-gaps         closed INTERNAL_ERROR
    stream-gaps         closed INTERNAL_ERROR
    mute                closed H3_REQUEST_INCOMPLETE
    no-settings         closed H3_MISSING_SETTINGS
    loris               closed H3_REQUEST_INCOMPLETE
";

fn open<'a>(lab: &'a Lab, devices: &[&str]) -> Clinic<'a> {
    let clinic = Clinic::open_with(lab, |site| {
        site.append(SITE);
        for device in devices {
            let number = device.trim_start_matches("desk-");
            site.append(&format!(
                "[device.{device}]\ncertificate = true\naddresses = [\"10.65.0.{number}\"]\n\
                 roles = [\"ecg-home\"]\nhl7_sender = \"DESK^{number}\"\n"
            ));
        }
    });
    let ca = clinic.gateway.authority();
    std::fs::write(folder(lab).join("ca.pem"), ca).unwrap();
    for device in devices {
        enrol(&clinic, device);
    }
    clinic
}

fn hostile(lab: &Lab, place: Place, device: &str, attacks: &[&str]) -> Process {
    let mut command = lab.command(place, peer_program("python"));
    command.arg(peer_script("hostile.py"));
    command.args(["--server", &format!("{}:443", wan4().ip()), "--name", NAME]);
    command.args(["--ca", &file(lab, "ca.pem")]);
    command.args(["--cert", &file(lab, &format!("{device}.pem"))]);
    command.args(["--key", &file(lab, &format!("{device}.key"))]);
    command.args(attacks);
    let name = format!("hostile-{device}-{}", attacks[0].replace('*', "-"));
    Process::start(&name, lab.directory(), command)
}

/// What became of each attack, by name.
fn outcomes(said: &str) -> BTreeMap<String, String> {
    let lines = said.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, outcome)| (name.to_owned(), outcome.to_owned()))
        .collect()
}

/// What is expected, with the code as the client says it, and the code's name.
fn expected() -> BTreeMap<&'static str, (String, Option<&'static str>)> {
    let codes: BTreeMap<_, _> = CODES.into_iter().chain([ENCODER, DECODER]).collect();
    let lines = VERDICTS.lines().map(str::split_whitespace);
    let verdict = |mut line: std::str::SplitWhitespace<'static>| {
        let (name, what) = (line.next()?, line.next()?);
        let word = line.next();
        let code = word.filter(|word| codes.contains_key(word));
        let more = word.map_or_else(String::new, |word| {
            let hex = codes.get(word).map(|code| format!(" {code:#x}"));
            hex.unwrap_or_else(|| format!(" {word}"))
        });
        Some((name, (format!("{what}{more}"), code)))
    };
    lines.filter_map(verdict).collect()
}

/// Records about what a device did on this tunnel.
fn records(clinic: &Clinic<'_>, device: &str) -> Vec<Value> {
    let all = clinic.gateway.journal().into_iter();
    all.filter(|record| {
        let event = text(record, "event");
        let of_tunnel = event.starts_with("session-") || event == "source-spoofed";
        of_tunnel && text(record, "device") == device
    })
    .collect()
}

/// Every rule that may be broken, beside a device that keeps them and works on.
//= C7
//= C8
#[test]
fn each_broken_rule_ends_by_its_code_and_is_on_record() {
    Lab::run(|lab| {
        let attackers = ["desk-8", "desk-9", "desk-10"];
        let clinic = open(lab, &["desk-7", "desk-8", "desk-9", "desk-10"]);
        let _desk = connect(lab, "desk-7", &[]);
        let mut his = mllp(lab);
        assert_eq!(his.exchange(&hl7::oru_from("DESK|7", "B")).code, "AA");
        let before = clinic.gateway.workers();
        let (used, _) = memory(before["tunnel-quic"]);
        let lists = ["all-0-3", "all-1-3", "all-2-3"];
        let attacking: Vec<Process> = std::iter::zip(attackers, lists)
            .map(|(device, list)| hostile(lab, Place::Home2, device, &[list]))
            .collect();
        let begun = Instant::now();
        let mut exchanged = 0;
        while !attacking.iter().all(|one| one.output().ends_with("end\n")) {
            assert!(begun.elapsed() < PATIENCE, "{}", attacking[0].output());
            exchanged += 1;
            let control = format!("W{exchanged}");
            let answer = his.exchange(&hl7::oru_from("DESK|7", &control));
            assert_eq!(answer.code, "AA", "{control}");
        }
        let said: String = attacking.iter().map(Process::output).collect();
        let (outcomes, expected) = (outcomes(&said), expected());
        let wrong = expected.iter().filter(|(name, (outcome, _))| {
            let got = outcomes.get(**name).map(String::as_str).unwrap_or_default();
            !(got == outcome || got.starts_with(&format!("{outcome} ")))
        });
        let wrong: Vec<_> = wrong
            .map(|(name, (outcome, _))| (name, outcome, outcomes.get(*name)))
            .collect();
        let told = |device: &&str| records(&clinic, device);
        let told: Vec<Value> = attackers.iter().flat_map(told).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{told:#?}");
        assert_eq!(outcomes.len(), expected.len(), "{:?}", outcomes.keys());

        // Each code that ended something is on record, and nobody has more records than connections have ends.
        let reasons = || -> Vec<String> {
            // What comes with the end of the handshake is of nobody yet.
            let all = clinic.gateway.journal().into_iter();
            let all = all.filter(|record| text(record, "event").starts_with("session-"));
            all.map(|record| text(&record, "why").to_owned()).collect()
        };
        let codes: BTreeSet<&str> = expected.values().filter_map(|(_, code)| *code).collect();
        let missing = |reasons: &[String]| -> Vec<&str> {
            let known = |code: &&str| reasons.iter().any(|why| why.starts_with(*code));
            codes.iter().copied().filter(|code| !known(code)).collect()
        };
        let begun = Instant::now();
        while !missing(&reasons()).is_empty() {
            let late = begun.elapsed() > wait::SOON;
            assert!(!late, "{:?}: {:#?}", missing(&reasons()), reasons());
        }
        for device in attackers {
            let (records, most) = (records(&clinic, device).len(), 2 * expected.len());
            assert!(records <= most, "{device}: {records}");
        }
        assert!(exchanged > 1);
        let of_desk = records(&clinic, "desk-7");
        assert_eq!(of_desk.len(), 1, "its session went on: {of_desk:?}");
        assert_eq!(clinic.gateway.workers(), before, "a worker was restarted");
        let (now, _) = memory(before["tunnel-quic"]);
        println!(
            "{} attacks, {exchanged} exchanges, {used} to {now} KiB",
            expected.len()
        );
        assert!(now < used + GROWTH, "grew from {used} to {now} KiB");
    });
}

/// A device that breaks a rule again and again is a number in a record.
//= C7
//= C8
#[test]
fn a_flood_of_broken_connections_is_a_few_records() {
    Lab::run(|lab| {
        let clinic = open(lab, &["desk-7", "desk-8", "desk-9"]);
        let _desk = connect(lab, "desk-7", &[]);
        let begun = Instant::now();
        for (device, attack) in [("desk-8", "fields-dynamic"), ("desk-9", "request-nothing")] {
            let flood = hostile(lab, Place::Home2, device, &[&format!("{attack}*60")]);
            wait::for_true("the end of a flood", PATIENCE, || {
                flood.output().ends_with("end\n")
            });
            let said = flood.output();
            // 30 at once and one a second are heard, the others sent away at once.
            let heard = said
                .lines()
                .filter(|line| !line.contains("too often") && line.contains("closed"));
            let heard = heard.count();
            assert!(heard >= 30, "{said}");
        }
        let refused = |device: &str| -> u64 {
            let all = records(&clinic, device).into_iter();
            let all = all.filter(|record| text(record, "event") == "session-refused");
            all.filter_map(|record| record["times"].as_u64()).sum()
        };
        wait::for_true(
            "all of a flood are counted",
            Duration::from_secs(30),
            || refused("desk-8") == 60,
        );
        let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
        // Two kinds of refusals, each told once and then every ten seconds.
        let told = records(&clinic, "desk-8").len();
        assert!(told <= 4 + seconds / 5, "{told} records in {seconds} s");
        // Sessions that began are told one by one, and there are no more of them than a device may begin.
        let told = records(&clinic, "desk-9").len();
        assert!(
            told <= 2 * (30 + seconds) + 4 + seconds / 5,
            "{told} records in {seconds} s"
        );
        let answer = mllp(lab).exchange(&hl7::oru_from("DESK|7", "F"));
        assert_eq!(answer.code, "AA");
    });
}

/// Handshakes that are begun after the proof of an address and never ended: few for each source, and not for long.
//= C7
#[test]
fn handshakes_that_stall_hold_up_nobody_else() {
    Lab::run(|lab| {
        let clinic = open(lab, &["desk-7", "desk-8"]);
        let before = clinic.gateway.workers();
        let (used, _) = memory(before["tunnel-quic"]);
        // More than fit with 20 a second.
        let mut stalling = hostile(lab, Place::Home2, "desk-8", &["stall*60"]);
        stalling.wait_for_output("stalling");
        let refused = |why: &'static str| {
            clinic
                .gateway
                .wait_for_record("session-refused", move |record| text(record, "why") == why)
        };
        refused("too many handshakes at once");
        // Elsewhere one comes in at once.
        let other = hostile(lab, Place::Clinician, "desk-7", &["datagram-other-stream"]);
        wait::for_true("another source", wait::SOON, || {
            other.output().contains("datagram-other-stream alive")
        });
        refused("the handshake took too long");
        assert_eq!(clinic.gateway.workers(), before, "a worker was restarted");
        let (now, _) = memory(before["tunnel-quic"]);
        println!("60 handshakes: {used} to {now} KiB");
        assert!(now < used + GROWTH, "grew from {used} to {now} KiB");
        // And when they are over, the same source comes in.
        let again = hostile(lab, Place::Home2, "desk-8", &["datagram-other-stream"]);
        wait::for_true("the same source", PATIENCE, || {
            again.output().contains("datagram-other-stream alive")
        });
    });
}

const DESK: Ipv4Addr = Ipv4Addr::new(10, 65, 0, 8);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 1, 10);

/// Packets whose source is not the device's own, in the tunnel of one that has an address of IPv4 alone.
fn spoofed() -> Vec<Vec<u8>> {
    let fours = [
        "10.65.0.7",
        "10.65.0.1",
        "10.65.255.255",
        "10.64.0.1",
        "10.20.2.10",
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
        "198.51.100.1",
    ];
    let sixes = [
        "fd65::7",
        "fd65::8",
        "fd20::5",
        "::1",
        "ff02::1",
        "::ffff:10.65.0.8",
    ];
    let six = |from: &str| udp6(from.parse().unwrap(), "fd20::5".parse().unwrap());
    let four = fours.map(|from| udp4(from.parse().unwrap(), SERVER));
    four.into_iter().chain(sixes.map(six)).collect()
}

/// Of the right source, and no packets or for one link only.
fn malformed() -> Vec<Vec<u8>> {
    let good = udp4(DESK, SERVER);
    let mut all = vec![
        Vec::new(),
        vec![0x45],
        good[..19].to_vec(),
        good[..27].to_vec(),
    ];
    // Version, length of the header, total length, checksum.
    for (at, byte) in [
        (0, 0x55),
        (0, 0x44),
        (0, 0x4f),
        (3, 19),
        (3, 29),
        (2, 0xff),
        (10, 0),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        all.push(bad);
    }
    let links = [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.1.1",
    ];
    all.extend(links.map(|to| udp4(DESK, to.parse().unwrap())));
    // A jumbogram, whoever says to have sent it.
    let (from, to): (Ipv6Addr, Ipv6Addr) = ("fd65::8".parse().unwrap(), "fd20::5".parse().unwrap());
    let mut jumbo = ipv6(from, to, 0, &[17, 0, 0xc2, 4, 0, 1, 0, 0]);
    jumbo[4..6].fill(0);
    all.push(jumbo);
    all
}

/// Whole packets of the device that the one policy must drop: fragments, options, no hops left, other protocols.
fn dropped_by_the_table() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for hops in [0, 1, 64] {
        let mut packet = udp4(DESK, SERVER);
        packet[8] = hops;
        all.push(summed(packet, 20));
    }
    for fragment in [0x2000_u16, 0x2001, 0x1fff, 0x3fff] {
        let mut packet = udp4(DESK, SERVER);
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        all.push(summed(packet, 20));
    }
    // Record route and loose source route by way of the server of another network.
    for option in [[7, 7, 4, 0, 0, 0, 0, 0], [0x83, 7, 4, 10, 20, 2, 10, 0]] {
        let mut packet = ipv4(DESK, SERVER, 17, &[0; 8]);
        packet[0] = 0x47;
        packet[3] += 8;
        packet.splice(20..20, option);
        all.push(summed(packet, 28));
    }
    for protocol in [1, 4, 41, 47, 50, 132, 255] {
        all.push(ipv4(DESK, SERVER, protocol, &[0; 40]));
    }
    all.push(ipv4(DESK, SERVER, 17, &[0; 8_900]));
    all
}

/// With the checksum of its header as it must be.
fn summed(mut packet: Vec<u8>, header: usize) -> Vec<u8> {
    packet[10..12].fill(0);
    let words = packet[..header].chunks(2);
    let sum: u32 = words
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    packet
}

/// Packets that no device should send, in datagrams and in the stream: counted by their kind, and nowhere seen.
//= C3
//= C5
#[test]
fn absurd_inner_packets_are_counted_and_go_nowhere() {
    Lab::run(|lab| {
        let clinic = open(lab, &["desk-7", "desk-8"]);
        let before = clinic.gateway.workers();
        let (spoofed, malformed) = (spoofed(), malformed());
        let all = [&spoofed[..], &malformed, &dropped_by_the_table()].concat();
        let hex = |packet: &Vec<u8>| -> String {
            packet.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let lines: Vec<String> = all.iter().map(hex).collect();
        std::fs::write(folder(lab).join("packets"), lines.join("\n")).unwrap();
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let packets = file(lab, "packets");
        let mut inner = hostile(
            lab,
            Place::Home2,
            "desk-8",
            &["inner", "--packets", &packets],
        );
        inner.wait_for_output(&format!("sent {}", all.len()));
        wait::for_true("each is counted", wait::SOON, || {
            tunnels(&clinic)
                .iter()
                .any(|one| one["spoofed"] == spoofed.len() && one["malformed"] == malformed.len())
        });
        wait::for_true("the spoofed ones are on record", wait::SOON, || {
            let told = records(&clinic, "desk-8").into_iter();
            let told = told.filter(|record| text(record, "event") == "source-spoofed");
            told.filter_map(|record| record["packets"].as_u64())
                .sum::<u64>()
                == u64::try_from(spoofed.len()).unwrap()
        });
        // The twin: its own packets to where it may go.
        drop(inner);
        let _desk = connect(lab, "desk-8", &[]);
        let answer = mllp(lab).exchange(&hl7::oru_from("DESK|8", "I"));
        assert_eq!(answer.code, "AA");
        let seen = watch.stop();
        for address in [PACS, CONSOLE] {
            assert_eq!(seen.packets_to(address), 0, "{address}");
        }
        assert_eq!(seen.packets_from(DESK.into()), 0);
        assert!(seen.packets_to(HIS) > 0, "the watch sees");
        assert_eq!(clinic.gateway.workers(), before, "a worker was restarted");
    });
}
