//! The console and the setup at a pseudo-terminal, as a serial line or a screen has them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, also in its helpers"
)]

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A console in a system of its own.
struct Terminal {
    child: Child,
    line: OwnedFd,
    shown: String,
    /// Up to where it was looked at.
    seen: usize,
}

impl Terminal {
    fn new(root: &Path, term: &str, arguments: &[&str]) -> Self {
        let line = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&line).unwrap();
        unlockpt(&line).unwrap();
        let name = ptsname(&line, Vec::new()).unwrap().into_string().unwrap();
        let end = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_lazaret"))
            .args(arguments)
            .arg("--root")
            .arg(root)
            .env("TERM", term)
            .env("PAGER", "/bin/sh")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Self {
            child,
            line,
            shown: String::new(),
            seen: 0,
        }
    }

    /// Waits until a text is shown after what was seen before.
    fn expect(&mut self, text: &str) {
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(self.read(), "no {text:?} in {:?}", &self.shown[self.seen..]);
        }
    }

    /// Reads a little; `false` at the end.
    fn read(&mut self) -> bool {
        let limit = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let mut asked = [PollFd::new(&self.line, PollFlags::IN)];
        let ready = poll(&mut asked, Some(&limit)).unwrap();
        assert!(ready > 0, "nothing is shown after {:?}", self.shown);
        let mut bytes = [0; 4096];
        match rustix::io::read(&self.line, &mut bytes) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.shown
                    .push_str(&String::from_utf8_lossy(&bytes[..count]));
                true
            }
        }
    }

    fn type_in(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let count = rustix::io::write(&self.line, rest).unwrap();
            rest = &rest[count..];
        }
    }

    fn answer(&mut self, question: &str, answer: &str) {
        self.expect(question);
        self.type_in(&format!("{answer}\n"));
    }

    /// Waits for its end.
    fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        (self.child.wait().unwrap().code(), self.shown)
    }
}

fn site() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("sys/class/net/ens3")).unwrap();
    let config = root.path().join("etc/lazaret");
    (root, config)
}

/// As an import would have done it.
fn provision(root: &Path, config: &Path) {
    let text = "schema = 1\n[gateway]\nname = \"nord-1\"\n[tunnel.wireguard]\nlisten = \"[::]:51820\"\ninterface = \"lz-wg\"\n\
        private_key_file = \"wireguard.key\"\nnetworks = [\"10.64.0.0/24\"]\n[hospital]\ninterface = \"ens3\"\n\
        [secrets]\nadmin_password = \"correct horse\"\n";
    let file = root.join("import.toml");
    fs::write(&file, text).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_lazaret"))
        .args(["setup", "import"])
        .arg(&file)
        .arg("--root")
        .arg(root)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(
        String::from_utf8_lossy(&done.stdout).starts_with("public key of the gateway, made now: ")
    );
    assert!(config.join("lazaret.toml").exists());
}

#[test]
fn a_machine_without_configuration_is_set_up_over_a_dumb_line() {
    let (root, config) = site();
    let mut line = Terminal::new(root.path(), "dumb", &["console", "--login"]);
    line.expect("not set up yet");
    line.answer("Name of the gateway: ", "nord 1");
    line.expect("not a name for a gateway");
    line.answer("Name of the gateway: ", "nord-1");
    line.answer(
        "Addresses of ens3, such as 192.0.2.10/24, or dhcp (- is none) [-]: ",
        "192.0.2.10/24",
    );
    line.answer("Default gateway at ens3 (- is none) [-]: ", "192.0.2.1");
    line.answer("Name servers", "");
    line.answer("Time servers", "");
    line.answer("Time zone [UTC]: ", "Europe/Paris");
    line.answer("Interface to the hospital [ens3]: ", "");
    line.answer("Networks of the tunnel [10.64.0.0/16]: ", "");
    // A paste comes at once.
    line.answer(
        "paste it",
        "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----",
    );
    line.answer("New password of the console: ", "correct horse");
    line.answer("The same again: ", "correct horse");
    line.answer("Put this into force? (yes, again, no): ", "yes");
    line.expect("Public key of the gateway: ");
    line.expect("The machine starts again now.");
    let (code, shown) = line.end();
    assert_eq!(code, Some(0));
    assert!(
        !shown.contains("horse") && !shown.contains('\u{1b}'),
        "{shown:?}"
    );
    let text = fs::read_to_string(config.join("lazaret.toml")).unwrap();
    assert!(
        text.contains("name = \"nord-1\"") && !text.contains("horse"),
        "{text}"
    );
    let root_mode = fs::metadata(config.join("hospital-root.pem"))
        .unwrap()
        .permissions();
    assert_eq!(root_mode.mode() & 0o777, 0o600);
}

#[test]
fn the_prompt_needs_the_password_and_has_no_way_to_a_shell() {
    let (root, config) = site();
    provision(root.path(), &config);
    let mut line = Terminal::new(root.path(), "vt220", &["console", "--login"]);
    line.expect("THE GATEWAY IS NOT RUNNING");
    // Keys that stop or end other programs.
    line.answer("password: ", "\u{3}\u{1a}\u{1c}wrong horse");
    line.expect("That is not the password.");
    line.expect("wait 1 s");
    line.answer("password: ", "correct horse");
    line.expect("lazaret> ");
    // Completed by the tabulator key, interrupted, and then run.
    line.type_in("vers\t");
    line.expect("version");
    line.type_in("\u{3}");
    line.expect("lazaret> ");
    line.type_in("\u{1a}vers\t\r");
    line.expect("lazaret 0.");
    line.expect("lazaret> ");
    for (typed, told) in [
        ("help", "support-bundle"),
        ("network", "ens3"),
        ("config show", "name = \"nord-1\""),
        ("check", "the configuration is good"),
        ("status", "cannot reach the gateway"),
        ("!sh", "unrecognized subcommand"),
        ("$(/bin/sh)", "unrecognized subcommand"),
        ("run", "`run` is not for the console"),
        ("lazaret console", "`console` is not for the console"),
        ("log -x", "log, or log UNIT"),
        ("config import", "there is no stick labelled LAZARET"),
        ("factory-reset", "To go on, write ERASE: "),
        ("no", "nothing was changed"),
        ("password", "Old password of the console: "),
    ] {
        line.type_in(&format!("{typed}\r"));
        line.expect(told);
    }
    line.type_in("correct horse\r");
    line.answer("New password of the console: ", "battery staple");
    line.answer("The same again: ", "battery staple");
    line.expect("The password was changed.");
    line.expect("lazaret> ");
    line.type_in("exit\r");
    let (code, shown) = line.end();
    assert_eq!(code, Some(0));
    assert!(
        !shown.contains("horse") && !shown.contains("staple"),
        "{shown:?}"
    );
    // It is the new one that opens.
    let mut again = Terminal::new(root.path(), "dumb", &["console", "--login"]);
    again.answer("password: ", "battery staple");
    again.answer("lazaret> ", "logout");
    let (code, shown) = again.end();
    assert_eq!(code, Some(0));
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn the_word_is_asked_for_before_everything_is_erased() {
    let (root, config) = site();
    provision(root.path(), &config);
    fs::create_dir(root.path().join("efi")).unwrap();
    let flag = root.path().join("efi/lazaret/factory-reset");
    for (word, code) in [("erase", 5), ("ERASE", 0)] {
        assert!(!flag.exists());
        let mut line = Terminal::new(root.path(), "dumb", &["factory-reset"]);
        line.answer("write ERASE: ", word);
        assert_eq!(line.end().0, Some(code), "{word}");
    }
    assert!(flag.exists());
}

#[test]
fn who_is_silent_is_logged_out() {
    let (root, config) = site();
    provision(root.path(), &config);
    let login = ["console", "--login", "--idle", "1"];
    let prompt = ["console", "--idle", "1"];
    for (term, arguments, asked) in [
        ("dumb", &login[..], "password: "),
        ("dumb", &prompt, "lazaret> "),
        ("vt220", &prompt, "lazaret> "),
    ] {
        let mut line = Terminal::new(root.path(), term, arguments);
        line.expect(asked);
        line.expect("nobody was there: logged out");
        assert_eq!(line.end().0, Some(0), "{term} {asked}");
    }
}

#[test]
fn a_line_that_is_hung_up_ends_the_session() {
    let (root, config) = site();
    provision(root.path(), &config);
    for term in ["dumb", "vt220"] {
        let mut line = Terminal::new(root.path(), term, &["console"]);
        line.expect("lazaret> ");
        let Terminal {
            mut child, line, ..
        } = line;
        drop(line);
        assert!(child.wait().unwrap().code().is_some(), "{term}");
    }
}
