//! Signatures of the real `ssh-keygen`, and what must not pass for one.

use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const STATEMENT: &str = "lazaret policy 1\nabc  lazaret.toml\n";

fn ssh_keygen(arguments: &[&str], directory: &Path) {
    let output = Command::new("ssh-keygen")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .expect("ssh-keygen must be installed: tests/setup");
    assert!(output.status.success(), "{output:?}");
}

/// A new key and the line of its signer.
fn key(directory: &Path, kind: &str, name: &str) -> String {
    let arguments = ["-q", "-t", kind, "-N", "", "-C", "", "-f", name];
    ssh_keygen(&arguments, directory);
    let public = std::fs::read_to_string(directory.join(format!("{name}.pub"))).unwrap();
    format!("{name}@example.org {}", public.trim())
}

fn sign(directory: &Path, name: &str, options: &[&str], text: &str) -> String {
    let (file, signature) = (directory.join("statement"), directory.join("statement.sig"));
    std::fs::write(&file, text).unwrap();
    let arguments = [&["-q", "-Y", "sign", "-f", name], options, &["statement"]].concat();
    ssh_keygen(&arguments, directory);
    let armoured = std::fs::read_to_string(&signature).unwrap();
    std::fs::remove_file(signature).unwrap();
    armoured
}

const NAMESPACED: [&str; 2] = ["-n", NAMESPACE];

fn judge(text: &str, armoured: &str, lines: &[String]) -> Result<String, SignatureError> {
    verify(
        text,
        armoured,
        lines,
        "2026-06-01T00:00:00Z".parse().unwrap(),
    )
}

#[test]
fn signatures_of_ssh_keygen_count_for_their_statement_alone() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (kind, name) in [("ed25519", "ed"), ("ecdsa", "ec")] {
        let signers = [key(directory, kind, name)];
        let stranger = [key(directory, kind, &format!("{name}-stranger"))];
        for hash in ["sha256", "sha512"] {
            let hashed = format!("hashalg={hash}");
            let options = [&NAMESPACED[..], &["-O", &hashed]].concat();
            // The numbers of ECDSA are now and then shorter.
            for _ in 0..8 {
                let armoured = sign(directory, name, &options, STATEMENT);
                let signer = format!("{name}@example.org");
                assert_eq!(judge(STATEMENT, &armoured, &signers), Ok(signer));
            }
        }
        let armoured = sign(directory, name, &NAMESPACED, STATEMENT);
        let other = STATEMENT.replace('c', "d");
        assert_eq!(
            judge(&other, &armoured, &signers),
            Err(SignatureError::Wrong)
        );
        assert_eq!(
            judge(STATEMENT, &armoured, &stranger),
            Err(SignatureError::Unknown)
        );
        assert_eq!(
            judge(STATEMENT, &armoured, &[]),
            Err(SignatureError::NoSigners)
        );
        let foreign = sign(directory, name, &["-n", "file"], STATEMENT);
        assert_eq!(
            judge(STATEMENT, &foreign, &signers),
            Err(SignatureError::Namespace)
        );
        let ended = signers[0].replacen(' ', " valid-before=\"20260101Z\" ", 1);
        let late = Err(SignatureError::Time(format!("{name}@example.org")));
        assert_eq!(judge(STATEMENT, &armoured, &[ended]), late);
    }
}

#[test]
fn no_changed_byte_of_a_signature_counts() {
    let directory = tempfile::tempdir().unwrap();
    let signers = [key(directory.path(), "ed25519", "ed")];
    let armoured = sign(directory.path(), "ed", &NAMESPACED, STATEMENT);
    let blob = dearmour(&armoured).unwrap();
    let armour = |bytes: &[u8]| format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(bytes));
    assert!(judge(STATEMENT, &armour(&blob), &signers).is_ok());
    for place in 0..blob.len() {
        let mut changed = blob.clone();
        changed[place] ^= 1;
        assert!(
            judge(STATEMENT, &armour(&changed), &signers).is_err(),
            "{place}"
        );
        assert!(judge(STATEMENT, &armour(&blob[..place]), &signers).is_err());
    }
    let longer = [&blob[..], &[0]].concat();
    assert!(judge(STATEMENT, &armour(&longer), &signers).is_err());
    for text in [
        "",
        BEGIN,
        &armoured.replace("BEGIN", "END"),
        &"x".repeat(LONGEST + 1),
    ] {
        assert!(judge(STATEMENT, text, &signers).is_err());
    }
}

/// A security key, as OpenSSH describes it, played with a key of ours.
#[test]
fn a_security_key_must_be_touched() {
    use ring::signature::{Ed25519KeyPair, KeyPair};
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let string = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    };
    let kind = "sk-ssh-ed25519@openssh.com";
    let public = [
        string(kind.as_bytes()),
        string(pair.public_key().as_ref()),
        string(b"ssh:"),
    ]
    .concat();
    let hash = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes).as_ref().to_vec();
    let signed = [
        MAGIC.to_vec(),
        string(NAMESPACE.as_bytes()),
        string(b""),
        string(b"sha256"),
        string(&hash(STATEMENT.as_bytes())),
    ]
    .concat();
    let line = [format!(
        "sk@example.org {kind} {}",
        STANDARD.encode(&public)
    )];
    for (flags, counts) in [(1_u8, true), (5, true), (0, false), (4, false)] {
        let touched = [flags, 0, 0, 0, 9];
        let inside = [hash(b"ssh:"), touched.to_vec(), hash(&signed)].concat();
        let signature = [
            string(kind.as_bytes()),
            string(pair.sign(&inside).as_ref()),
            touched.to_vec(),
        ]
        .concat();
        let blob = [
            MAGIC.to_vec(),
            1_u32.to_be_bytes().to_vec(),
            string(&public),
            string(NAMESPACE.as_bytes()),
            string(b""),
            string(b"sha256"),
            string(&signature),
        ]
        .concat();
        let armoured = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(blob));
        assert_eq!(
            judge(STATEMENT, &armoured, &line).is_ok(),
            counts,
            "{flags}"
        );
    }
}
