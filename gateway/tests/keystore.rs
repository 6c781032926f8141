//! Authorities whose keys are in a token: the real gateway with SoftHSM, judged by openssl.
//!
//! The test runs itself again inside `unshare`, so that it needs no root and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "tests measure time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail with them"
)]

mod world;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;
use world::*;

const PIN: &str = "4711-0815";

fn config(algorithm: &str) -> String {
    format!(
        "{CONFIG}
[pki]
server_names = [\"gw.example.org\"]
algorithm = \"{algorithm}\"
[pki.pkcs11]
module = \"/usr/lib/softhsm/libsofthsm2.so\"
token = \"hospital\"
pin_file = \"token.pin\"
paths = [\"/run/hsm/store\", \"/run/hsm/softhsm2.conf\"]
environment = {{ SOFTHSM2_CONF = \"/run/hsm/softhsm2.conf\" }}
"
    )
}

fn pin(text: &str) {
    let path = "/run/conf/token.pin";
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn begin() -> Gateway {
    prepare();
    std::fs::create_dir_all("/run/hsm/store").unwrap();
    let conf =
        "directories.tokendir = /run/hsm/store\nobjectstore.backend = file\nlog.level = ERROR\n";
    std::fs::write("/run/hsm/softhsm2.conf", conf).unwrap();
    let words = "--init-token --free --label hospital --so-pin 12345678 --pin";
    let output = run(Command::new("softhsm2-util")
        .args(words.split(' '))
        .arg(PIN)
        .env("SOFTHSM2_CONF", "/run/hsm/softhsm2.conf"));
    assert!(output.status.success(), "{}", said(&output));
    pin(PIN);
    write(&config("ecdsa-p256"));
    let words = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ecg -keyout";
    openssl(
        &[
            &words.split(' ').collect::<Vec<_>>()[..],
            &["/run/ecg.key", "-out", "/run/ecg.csr"],
        ]
        .concat(),
    );
    Gateway::start()
}

fn openssl(words: &[&str]) -> String {
    let output = run(Command::new("openssl").args(words));
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    said(&output)
}

fn succeeds(arguments: &[&str]) -> String {
    let output = lazaret(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn certify() -> std::process::Output {
    // Each key is certified as often as its device likes.
    let _there_may_be_none = std::fs::remove_file("/run/ecg.crt");
    lazaret(&[
        "cert",
        "renew",
        "ecg",
        "--csr",
        "/run/ecg.csr",
        "--out",
        "/run/ecg.crt",
    ])
}

/// The device gets a certificate, which openssl believes, and so does it the list.
fn certified() {
    until("a certificate", || certify().status.success());
    std::fs::write("/run/ca.pem", succeeds(&["ca", "export"])).unwrap();
    openssl(&[
        "verify",
        "-CAfile",
        "/run/ca.pem",
        "-purpose",
        "sslclient",
        "/run/ecg.crt",
    ]);
    let lists = succeeds(&["ca", "export", "--crl"]);
    let first = lists
        .split_inclusive("-----END X509 CRL-----\n")
        .next()
        .unwrap();
    std::fs::write("/run/ca.crl", first).unwrap();
    let told = openssl(&[
        "crl",
        "-in",
        "/run/ca.crl",
        "-CAfile",
        "/run/ca.pem",
        "-noout",
        "-text",
    ]);
    assert!(told.contains("verify OK"), "{told}");
}

fn refused(why: &str) {
    until(why, || {
        let output = certify();
        !output.status.success() && said(&output).contains(why)
    });
}

fn token_of(place: usize) -> String {
    let status = json(&["ca", "status"]);
    let one = &status["authorities"][place];
    assert!(one.is_object(), "{status}");
    one["place"]["token"].as_str().unwrap_or("file").to_owned()
}

#[test]
fn an_authority_lives_in_a_token() {
    if std::env::var_os(INSIDE).is_none() {
        return again("an_authority_lives_in_a_token");
    }
    let _gateway = begin();
    until("the token", || lazaret(&["ca", "init"]).status.success());
    assert_eq!(token_of(0), "hospital");
    certified();
    let names = std::fs::read_dir("/run/state/pki").unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!names.any(|name| name.starts_with("ca-") && name.ends_with(".key")));
    for algorithm in ["ecdsa-p384", "ed25519"] {
        write(&config(algorithm));
        succeeds(&["apply"]);
        succeeds(&["ca", "rotate"]);
        certified();
    }
    confined();
    the_process_may_die();
    the_token_may_go();
}

fn confined() {
    let pid = pid_of("keystore").unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{status}");
    }
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    assert!(!String::from_utf8_lossy(&environment).contains(PIN));
    assert!(!journal().contains(PIN));
}

fn the_process_may_die() {
    let tunnel = pid_of("tunnel-wireguard");
    for signal in [Signal::KILL, Signal::STOP] {
        let pid = pid_of("keystore").unwrap();
        kill(pid, signal);
        if signal == Signal::STOP {
            // A library that hangs: who asks hears it, and the process is ended.
            let output = certify();
            assert!(
                said(&output).contains("key store is not available"),
                "{}",
                said(&output)
            );
        }
        until("another process", || {
            pid_of("keystore").is_some_and(|new| new != pid)
        });
        certified();
    }
    assert_eq!(pid_of("tunnel-wireguard"), tunnel);
}

fn the_token_may_go() {
    let tunnel = pid_of("tunnel-wireguard");
    // The folder stays: what a process may open is decided when it begins.
    let mut entries = std::fs::read_dir("/run/hsm/store").unwrap();
    let store = entries.next().unwrap().unwrap().path();
    std::fs::rename(&store, "/run/hsm/away").unwrap();
    // SoftHSM goes on with what it has read; a process that begins finds nothing.
    kill(pid_of("keystore").unwrap(), Signal::KILL);
    refused("there is no token hospital");
    assert_eq!(pid_of("tunnel-wireguard"), tunnel);
    std::fs::rename("/run/hsm/away", &store).unwrap();
    certified();
}

#[test]
fn a_wrong_pin_is_tried_once() {
    if std::env::var_os(INSIDE).is_none() {
        return again("a_wrong_pin_is_tried_once");
    }
    let mut gateway = begin();
    until("the token", || lazaret(&["ca", "init"]).status.success());
    pin("wrong-pin");
    kill(pid_of("keystore").unwrap(), Signal::KILL);
    refused("refuses the PIN");
    let remembered = "/run/state/keystore-pin-refused.json";
    let first = std::fs::read(remembered).unwrap();
    assert!(!String::from_utf8_lossy(&first).contains("wrong-pin"));
    // Neither another process nor another gateway tries it again: it says so though the token is not there.
    std::fs::rename("/run/hsm/store", "/run/hsm/away").unwrap();
    kill(pid_of("keystore").unwrap(), Signal::KILL);
    refused("refuses the PIN");
    gateway.end(Signal::TERM);
    drop(gateway);
    let _gateway = Gateway::start();
    refused("refuses the PIN");
    std::fs::rename("/run/hsm/away", "/run/hsm/store").unwrap();
    pin(PIN);
    refused("refuses the PIN");
    succeeds(&["apply"]);
    certified();
}
