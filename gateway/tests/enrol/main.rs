//! Devices that enrol themselves at the real gateway, by tools that are not ours: curl and openssl, from outside.
//!
//! The test runs itself again inside `unshare`, so that it needs no root and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "tests measure time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail with them"
)]

mod strongswan;
#[path = "../world/mod.rs"]
mod world;
mod outside;
mod used;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use outside::{HOME, URL, prepare};
use world::{
    Gateway, INSIDE, LAZARET, again, journal, json, kill, lazaret, pid_of, run, said, until,
};

//= C3
//= C5
#[test]
fn a_tunnel_is_enrolled_once_by_its_token() {
    if std::env::var_os(INSIDE).is_none() {
        return again("a_tunnel_is_enrolled_once_by_its_token");
    }
    let _gateway = begin();
    let token = token(&[
        "--role",
        "ecg-home",
        "--device",
        "ecg-1",
        "--serial",
        "SN-1",
        "--approve",
    ]);
    let ask = |key: &str, serial: &str| {
        tunnel(
            &token,
            &format!(r#"{{"public_key":"{key}","serial":"{serial}"}}"#),
        )
    };
    let unknown = token_of_another();
    let refusal = (
        401,
        "the token is not good, or not any more\n\
        Check that all of it was typed; otherwise ask whoever gave it to you for a new one.\n"
            .to_owned(),
    );
    let stranger = tunnel(&unknown, &format!(r#"{{"public_key":"{}"}}"#, key(1)));
    assert_eq!(stranger, refusal);
    assert_eq!(ask(&key(1), "SN-2"), refusal, "another serial number");
    let (status, place) = ask(&key(1), "SN-1");
    assert_eq!(status, 200, "{place}");
    let place: Value = serde_json::from_str(&place).unwrap();
    assert_eq!(
        (&place["device"], &place["standing"]),
        (&"ecg-1".into(), &"active".into())
    );
    assert_eq!(place["addresses"][0], "10.64.64.1");
    assert_eq!(place["endpoint"], "gw.example.org:51820");
    let text = place["wg_quick"].as_str().unwrap();
    assert!(text.contains("AllowedIPs = 10.20.2.10/32"), "{text}");
    assert_eq!(ask(&key(2), "SN-1"), refusal, "used by another key");
    let (status, again) = ask(&key(1), "SN-1");
    assert_eq!(
        (status, serde_json::from_str::<Value>(&again).unwrap()),
        (200, place)
    );
    let known = json(&["device", "show", "ecg-1"]);
    assert!(known.to_string().contains("10.64.64.1"), "{known}");

    let other = forms();
    revoked_and_told(&refusal);
    assert!(!journal().contains("lzt_") && !journal().contains(&other[4..]));
    guesses(&unknown);
}

fn forms() -> String {
    // Forms that are not right, with a token that is; none of them uses it.
    let token = token(&["--role", "ecg-home", "--device", "ecg-2"]);
    for (body, wanted) in [
        ("{}", 400),
        (r#"{"public_key":"AAAA"}"#, 400),
        (
            &format!(r#"{{"public_key":"{}","name":"NOT A NAME"}}"#, key(3)),
            400,
        ),
        (&format!(r#"{{"public_key":"{}","more":1}}"#, key(3)), 400),
        (&format!(r#"{{"public_key":"{}"}}"#, key(1)), 409),
        (
            &format!(r#"{{"public_key":"{}","name":"ecg-3"}}"#, key(3)),
            401,
        ),
        (&" ".repeat(30_000), 413),
        (&format!(r#"{{"public_key":"{}"}}"#, key(3)), 200),
    ] {
        let (status, said) = tunnel(&token, body);
        assert_eq!(status, wanted, "{said}");
    }
    // It waits to be approved: its key is not taken.
    let pending = json(&["device", "list", "--pending"]);
    assert_eq!(pending["devices"][0]["device"], "ecg-2");
    assert!(lazaret(&["device", "approve", "ecg-2"]).status.success());
    token
}

fn revoked_and_told(refusal: &(u16, String)) {
    let revoked = json(&["enroll", "token", "create", "--role", "ecg-home"]);
    let id = revoked["id"].as_str().unwrap();
    assert!(lazaret(&["enroll", "token", "revoke", id]).status.success());
    let body = format!(r#"{{"public_key":"{}"}}"#, key(4));
    assert_eq!(tunnel(revoked["token"].as_str().unwrap(), &body), *refusal);
    let listed = json(&["enroll", "token", "list"]);
    let states: Vec<_> = listed["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["state"])
        .collect();
    assert_eq!(states.iter().filter(|state| **state == "used").count(), 2);
    for words in [
        "\"token-created\"",
        "\"token-revoked\"",
        "\"enrolled\"",
        "\"again\"",
        "there is no such token",
        "the token was used before",
        "the token is revoked",
        "the token is for another serial number",
        "the token is for another name",
        "192.0.2.7",
    ] {
        until_in_journal(words);
    }
}

fn guesses(unknown: &str) {
    let body = format!(r#"{{"public_key":"{}"}}"#, key(5));
    // Who guesses has to wait, and others do not.
    let guess = || tunnel(unknown, &body).0;
    let mut guesses = 0;
    while guess() == 401 {
        guesses += 1;
        assert!(guesses < 30, "nobody stops the guesses");
    }
    assert_eq!(guess(), 429);
    let other = token(&["--role", "ecg-home"]);
    let from = |address| {
        post(
            &["--interface", address, "-u", &format!("x:{other}")],
            "v1/wireguard",
            "application/json",
            &body,
        )
        .0
    };
    assert_eq!((from("192.0.2.7"), from("192.0.2.8")), (429, 200));
    until_in_journal("too many wrong tokens");
}

//= RFC 7030
#[test]
fn a_certificate_is_enrolled_and_renewed_by_est() {
    if std::env::var_os(INSIDE).is_none() {
        return again("a_certificate_is_enrolled_and_renewed_by_est");
    }
    let _gateway = begin();
    first_certificate();
    next_certificates();
    a_machine();
    both_processes_may_die();
    revoked_machines();
    apps();
    sealed();
}

fn first_certificate() {
    let token = token(&["--role", "ecg-home", "--device", "ecg-1"]);
    request("one", "ec -pkeyopt ec_paramgen_curve:P-256", "/CN=ecg-1");
    let basic = format!("x:{token}");
    let enroll =
        |csr: &str, kind: &str| post(&["-u", &basic], ".well-known/est/simpleenroll", kind, csr);
    let one = body("one");
    for (csr, kind, wanted) in [
        (one.as_str(), "application/json", 415),
        ("!!!", PKCS10, 400),
        ("MAA=", PKCS10, 400),
        (&"A".repeat(30_000), PKCS10, 413),
        (&made("weak", "rsa:1024", "/CN=ecg-1"), PKCS10, 400),
        (
            &made(
                "curve",
                "ec -pkeyopt ec_paramgen_curve:secp256k1",
                "/CN=ecg-1",
            ),
            PKCS10,
            400,
        ),
        (
            &made(
                "foreign",
                "ec -pkeyopt ec_paramgen_curve:P-256",
                "/CN=ecg-2",
            ),
            PKCS10,
            401,
        ),
        (&extended("large", &"x".repeat(9000)), PKCS10, 400),
        (&one, PKCS10, 200),
    ] {
        let (status, said) = enroll(csr, kind);
        assert_eq!(status, wanted, "{said}");
        if status == 200 {
            take("one", &said);
        }
    }
    assert_eq!(
        enroll(
            &made("two", "ec -pkeyopt ec_paramgen_curve:P-256", "/CN=ecg-1"),
            PKCS10
        )
        .0,
        401
    );
}

fn next_certificates() {
    let one = body("one");
    // Pending, it may renew, and nothing else.
    assert_eq!(
        json(&["device", "list", "--pending"])["devices"][0]["device"],
        "ecg-1"
    );
    let renew = |by: &str, csr: &str| {
        let (key, crt) = (format!("/run/{by}.key"), format!("/run/{by}.crt"));
        post(
            &["--cert", &crt, "--key", &key],
            ".well-known/est/simplereenroll",
            PKCS10,
            csr,
        )
    };
    assert_eq!(renew("one", &one).0, 400, "the same key");
    let (status, said) = renew("one", &body("two"));
    assert_eq!(status, 200, "{said}");
    take("two", &said);
    let none = post(&[], ".well-known/est/simplereenroll", PKCS10, &one).0;
    assert_eq!(none, 403, "without a certificate");
    assert_eq!(curl(&[&format!("{URL}/.well-known/est/csrattrs")]).0, 200);
    assert_eq!(
        curl(&[&format!("{URL}/.well-known/est/simpleenroll")]).0,
        405
    );
    assert_eq!(curl(&[&format!("{URL}/anything")]).0, 404);
}

fn a_machine() {
    // A clinician's machine, with nothing but a token and the address.
    let token = token(&["--role", "ecg-home", "--approve"]);
    let asked = home(&[
        LAZARET,
        "enroll",
        "request",
        URL,
        &token,
        "--out",
        "/run/own",
        "--name",
        "station-1",
    ]);
    assert!(asked.status.success(), "{}", said_by(&asked));
    let mode = std::fs::metadata("/run/own/device.pem")
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = || std::fs::read_to_string("/run/own/device.pem").unwrap();
    let before = kept();
    let early = home(&[LAZARET, "enroll", "renew", "/run/own"]);
    assert!(
        early.status.success() && kept() == before,
        "{}",
        said_by(&early)
    );
    let renewed = home(&[LAZARET, "enroll", "renew", "/run/own", "--now"]);
    assert!(
        renewed.status.success() && kept() != before,
        "{}",
        said_by(&renewed)
    );
    assert!(!std::path::Path::new("/run/own/waiting.key").exists());
    // A token of another gateway does not know this one.
    let strange = token_of_another();
    let stranger = home(&[
        LAZARET, "enroll", "request", URL, &strange, "--out", "/run/no",
    ]);
    assert!(
        said_by(&stranger).contains("this is not the gateway"),
        "{}",
        said_by(&stranger)
    );
}

fn both_processes_may_die() {
    // Both processes may die.
    for name in ["enrol", "signer"] {
        let before = pid_of(name).unwrap();
        kill(before, rustix::process::Signal::KILL);
        until(name, || pid_of(name).is_some_and(|pid| pid != before));
        until("it answers again", || {
            curl(&[&format!("{URL}/.well-known/est/cacerts")]).0 == 200
        });
        let renewed = home(&[LAZARET, "enroll", "renew", "/run/own", "--now"]);
        assert!(renewed.status.success(), "{}", said_by(&renewed));
    }
}

fn revoked_machines() {
    assert!(
        lazaret(&["device", "quarantine", "station-1"])
            .status
            .success()
    );
    let renewed = home(&[LAZARET, "enroll", "renew", "/run/own", "--now"]);
    assert!(
        said_by(&renewed).contains("quarantined"),
        "{}",
        said_by(&renewed)
    );
    assert!(lazaret(&["device", "revoke", "station-1"]).status.success());
    let renewed = home(&[LAZARET, "enroll", "renew", "/run/own", "--now"]);
    assert!(!renewed.status.success());
    until_in_journal("\"renewed\"");
    until("everybody can know that it is revoked", || {
        let (status, lists) = curl(&[&format!("{URL}/v1/crl")]);
        assert_eq!(status, 200, "{lists}");
        std::fs::write("/run/crl.pem", lists).unwrap();
        let words = ["verify", "-crl_check", "-CAfile", "/run/ca.pem"];
        let files = ["-CRLfile", "/run/crl.pem", "/run/own/device.pem"];
        let verified = run(Command::new("openssl").args(words).args(files));
        said(&verified).contains("certificate revoked")
    });
}

fn apps() {
    // The apps get all in one.
    let printed = lazaret(&[
        "enroll",
        "wireguard",
        "phone-1",
        "--role",
        "ecg-home",
        "--qr",
    ]);
    assert!(
        printed.status.success() && said_by(&printed).contains("shown once"),
        "{}",
        said_by(&printed)
    );
    let printed = lazaret(&["enroll", "wireguard", "phone-2", "--role", "ecg-home"]);
    assert!(
        said_by(&printed).contains("PrivateKey = "),
        "{}",
        said_by(&printed)
    );
}

fn sealed() {
    // What is sealed stays sealed.
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", pid_of("enrol").unwrap())).unwrap();
    for line in ["Seccomp:\t2", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} in {status}");
    }
}

/// The gateway with its authority, and its certificate where devices have it.
fn begin() -> Gateway {
    prepare();
    let gateway = Gateway::start();
    until("the signer is ready", || {
        lazaret(&["ca", "init"]).status.success()
    });
    let exported = lazaret(&["ca", "export"]);
    std::fs::write("/run/ca.pem", &exported.stdout).unwrap();
    until("the service answers", || {
        curl(&[&format!("{URL}/.well-known/est/cacerts")]).0 == 200
    });
    gateway
}

fn token(arguments: &[&str]) -> String {
    let made = json(&[&["enroll", "token", "create"], arguments].concat());
    made["token"].as_str().unwrap().to_owned()
}

/// Well made, but nobody here has its chance, and its authority is another.
fn token_of_another() -> String {
    lazaret::enrol::token::Token::new([7; 20], Some(b"another authority")).to_string()
}

fn key(number: u8) -> String {
    STANDARD.encode([number; 32])
}

/// A command where devices are.
fn home(words: &[&str]) -> Output {
    run(Command::new("nsenter")
        .arg(format!("--net={HOME}"))
        .args(words))
}

/// The status, and what was said.
fn curl(arguments: &[&str]) -> (u16, String) {
    let fixed = [
        "curl",
        "--silent",
        "--show-error",
        "--cacert",
        "/run/ca.pem",
        "--write-out",
        "\n%{http_code}",
    ];
    let output = home(&[&fixed, arguments].concat());
    let text = said(&output);
    let Some((body, status)) = text.rsplit_once('\n') else {
        return (0, text);
    };
    (status.parse().unwrap_or(0), body.to_owned())
}

fn post(arguments: &[&str], path: &str, kind: &str, body: &str) -> (u16, String) {
    std::fs::write("/run/body", body).unwrap();
    let kind = format!("Content-Type: {kind}");
    let url = format!("{URL}/{path}");
    let fixed = ["-H", &kind, "--data-binary", "@/run/body", &url];
    curl(&[arguments, &fixed[..]].concat())
}

fn tunnel(token: &str, body: &str) -> (u16, String) {
    post(
        &["-u", &format!("x:{token}")],
        "v1/wireguard",
        "application/json",
        body,
    )
}

const PKCS10: &str = "application/pkcs10";

/// A key and a request by openssl.
fn request(name: &str, kind: &str, subject: &str) {
    let words = format!(
        "req -new -newkey {kind} -nodes -keyout /run/{name}.key -outform DER -out /run/{name}.csr -subj {subject}"
    );
    let made = run(Command::new("openssl").args(words.split(' ')));
    assert!(made.status.success(), "{}", said(&made));
}

fn body(name: &str) -> String {
    said(&run(Command::new("base64").arg(format!("/run/{name}.csr"))))
}

fn made(name: &str, kind: &str, subject: &str) -> String {
    request(name, kind, subject);
    body(name)
}

/// A request with an extension of this length.
fn extended(name: &str, text: &str) -> String {
    let words = format!(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /run/{name}.key -outform DER -out /run/{name}.csr -subj /CN=ecg-1 -addext nsComment={text}"
    );
    let made = run(Command::new("openssl").args(words.split(' ')));
    assert!(made.status.success(), "{}", said(&made));
    body(name)
}

/// What EST answered, as openssl reads it: a certificate of the gateway's authority.
fn take(name: &str, answer: &str) {
    let (message, crt) = (format!("/run/{name}.p7"), format!("/run/{name}.crt"));
    std::fs::write(&message, STANDARD.decode(answer).unwrap()).unwrap();
    let words = ["pkcs7", "-inform", "der", "-print_certs"];
    let files = ["-in", &message, "-out", &crt];
    let read = run(Command::new("openssl").args(words).args(files));
    assert!(read.status.success(), "{}", said(&read));
    let words = [
        "verify",
        "-purpose",
        "sslclient",
        "-CAfile",
        "/run/ca.pem",
        &crt,
    ];
    let verified = run(Command::new("openssl").args(words));
    assert!(verified.status.success(), "{}", said(&verified));
}

fn said_by(output: &Output) -> String {
    said(output)
}

fn until_in_journal(words: &str) {
    until(words, || journal().contains(words));
}
