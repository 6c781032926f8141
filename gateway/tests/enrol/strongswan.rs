//! An EST client that is not ours: `pki` of strongSwan, with a TLS of its own.

use super::*;

/// Its TLS goes up to 1.2 unless it is told otherwise, and our service speaks 1.3 alone. Its plugin for OpenSSL does
/// not know the name constraints of our authority, which RFC 5280 wants to be critical.
const SETTINGS: &str = "
libtls {
  version_max = 1.3
}
libstrongswan {
  x509 {
    enforce_critical = no
  }
}
";

//= RFC 7030
#[test]
fn strongswan_enrols_and_renews() {
    if std::env::var_os(INSIDE).is_none() {
        return again("strongswan::strongswan_enrols_and_renews");
    }
    let _gateway = begin();
    std::fs::write("/run/strongswan.conf", SETTINGS).unwrap();
    let authorities = est("--estca", &[]);
    assert!(!authorities.is_empty());

    let token = token(&["--role", "ecg-home", "--device", "ecg-7"]);
    let (key, csr) = request("first");
    let basic = format!("x:{token}");
    let first = kept(
        "first.crt",
        &est("--est", &["--in", &csr, "--userpass", &basic]),
    );
    assert!(
        subject(&first).contains("UID = ecg-7"),
        "{}",
        subject(&first)
    );
    assert!(lazaret(&["device", "approve", "ecg-7"]).status.success());

    let (_, next) = request("next");
    let renewal = ["--in", &next, "--cert", &first, "--key", &key];
    let second = kept("second.crt", &est("--est", &renewal));
    assert!(
        subject(&second).contains("UID = ecg-7"),
        "{}",
        subject(&second)
    );
    assert_ne!(
        std::fs::read(&first).unwrap(),
        std::fs::read(&second).unwrap()
    );

    // The token was used; whoever is revoked is not served any more.
    let (_, late) = request("late");
    assert!(
        asked("--est", &["--in", &late, "--userpass", &basic])
            .stdout
            .is_empty()
    );
    assert!(lazaret(&["device", "revoke", "ecg-7"]).status.success());
    let revoked = asked("--est", &["--in", &late, "--cert", &second, "--key", &key]);
    assert!(revoked.stdout.is_empty());
}

/// A new key, and the request of a certificate for it.
fn request(name: &str) -> (String, String) {
    let made = home(&[
        "pki",
        "--gen",
        "--type",
        "ecdsa",
        "--size",
        "256",
        "--outform",
        "pem",
    ]);
    let key = kept(&format!("{name}.key"), &made.stdout);
    let dn = ["--in", &key, "--dn", "CN=ecg-7", "--outform", "pem"];
    let made = home(&[&["pki", "--req", "--type", "ecdsa"], &dn[..]].concat());
    let csr = kept(&format!("{name}.csr"), &made.stdout);
    (key, csr)
}

/// What the service gave.
fn est(what: &str, arguments: &[&str]) -> Vec<u8> {
    let output = asked(what, arguments);
    assert!(
        output.status.success() && !output.stdout.is_empty(),
        "{}",
        said_by(&output)
    );
    output.stdout
}

fn asked(what: &str, arguments: &[&str]) -> Output {
    let fixed = ["env", "STRONGSWAN_CONF=/run/strongswan.conf", "pki", what];
    let fixed = [
        &fixed[..],
        &["--url", URL, "--cacert", "/run/ca.pem", "--outform", "pem"],
    ];
    home(&[fixed.concat().as_slice(), arguments].concat())
}

fn subject(certificate: &str) -> String {
    said(&run(Command::new("openssl").args([
        "x509",
        "-noout",
        "-subject",
        "-in",
        certificate,
    ])))
}

fn kept(name: &str, content: &[u8]) -> String {
    let path = format!("/run/{name}");
    std::fs::write(&path, content).unwrap();
    path
}
