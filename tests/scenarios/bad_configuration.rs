//! Configurations that are wrong in every way that a text, a file or a folder can be: `check` says what and where,
//! `apply` leaves the running gateway as it was. Every text that the schema's own tests refuse is refused here too.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{Clinic, Lab, Site, hl7, lazaret, wait};

/// A way to spoil a folder that `check` accepts, and what the refusal must name.
type Spoil = (&'static str, fn(&Path), &'static str);

const SPOILS: [Spoil; 19] = [
    (
        "nothing in the file",
        |d| put(d, "lazaret.toml", b""),
        "schema",
    ),
    (
        "NUL bytes",
        |d| put(d, "lazaret.toml", &[0; 100]),
        "lazaret.toml",
    ),
    (
        "not UTF-8",
        |d| put(d, "conf.d/a.toml", b"# \xff\xfe\n"),
        "a.toml",
    ),
    (
        "UTF-16",
        |d| put(d, "conf.d/a.toml", b"\xff\xfes\0c\0"),
        "a.toml",
    ),
    (
        "no TOML",
        |d| put(d, "conf.d/a.toml", b"<config/>"),
        "a.toml",
    ),
    (
        "cut in a string",
        |d| put(d, "conf.d/a.toml", b"[service.x]\naddress = \"10."),
        "a.toml",
    ),
    (
        "a table twice",
        |d| {
            put(
                d,
                "conf.d/a.toml",
                b"[service.pacs]\naddress = \"10.20.3.3:104\"\nprotocol = \"dicom\"\n",
            )
        },
        "pacs",
    ),
    (
        "20,000 open brackets",
        |d| {
            put(
                d,
                "conf.d/a.toml",
                format!("x = {}", "[".repeat(20_000)).as_bytes(),
            )
        },
        "a.toml",
    ),
    (
        "20,000 inline tables",
        |d| {
            put(
                d,
                "conf.d/a.toml",
                format!("x = {}", "{a=".repeat(20_000)).as_bytes(),
            )
        },
        "a.toml",
    ),
    (
        "20,000 dots",
        |d| {
            put(
                d,
                "conf.d/a.toml",
                format!("a{} = 1", ".a".repeat(20_000)).as_bytes(),
            )
        },
        "a.toml",
    ),
    (
        "one line of 4 MiB",
        |d| put(d, "conf.d/a.toml", &vec![b'a'; 4 << 20]),
        "a.toml",
    ),
    (
        "a name with an escape sequence",
        |d| put(d, "conf.d/a.toml", b"[device.\"x\\u001b[31m\"]\n"),
        "a.toml",
    ),
    (
        "a folder in place of the file",
        |d| {
            std::fs::remove_file(d.join("lazaret.toml")).unwrap();
            std::fs::create_dir(d.join("lazaret.toml")).unwrap();
        },
        "lazaret.toml",
    ),
    (
        "a symbolic link to itself",
        |d| {
            std::fs::create_dir_all(d.join("conf.d")).unwrap();
            symlink("a.toml", d.join("conf.d/a.toml")).unwrap();
        },
        "a.toml",
    ),
    (
        "a file without end",
        |d| {
            std::fs::create_dir_all(d.join("conf.d")).unwrap();
            symlink("/dev/zero", d.join("conf.d/a.toml")).unwrap();
        },
        "a.toml",
    ),
    (
        "a file that waits",
        |d| {
            std::fs::create_dir_all(d.join("conf.d")).unwrap();
            mkfifo(&d.join("conf.d/a.toml"));
        },
        "a.toml",
    ),
    (
        "a key for everybody",
        |d| mode(&d.join("wireguard.key"), 0o644),
        "wireguard.key",
    ),
    (
        "a key that is none",
        |d| put(d, "wireguard.key", b"secret\n"),
        "wireguard.key",
    ),
    (
        "no key",
        |d| std::fs::remove_file(d.join("wireguard.key")).unwrap(),
        "wireguard.key",
    ),
];

#[test]
fn check_names_what_is_wrong() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        for (what, spoil, named) in SPOILS {
            let kept = Kept::of(&site);
            spoil(&site.directory());
            let (said, took) = wait::timed(|| lazaret(lab, &site, &["check"]));
            assert_eq!(said.code, 3, "{what}: {}", said.all());
            assert!(said.all().contains(named), "{what}: {}", said.all());
            assert!(!said.all().contains('\x1b'), "{what}: raw escape sequence");
            assert!(
                said.all().len() < 64 << 10,
                "{what}: {} bytes",
                said.all().len()
            );
            assert!(took < Duration::from_secs(10), "{what}: {took:?}");
            kept.restore(&site);
            let _ = lazaret(lab, &site, &["check"]).ok();
        }
    });
}

/// The texts of the schema's own tests, each before a running gateway.
//= C4
#[test]
fn apply_changes_nothing_then() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        let table = || {
            lab.output(
                e2e::Place::Gateway,
                &["nft", "list", "table", "inet", "lazaret"],
            )
            .ok()
            .out
        };
        let before = table();
        for (what, spoil, _) in SPOILS {
            let kept = Kept::of(&clinic.site);
            spoil(&clinic.site.directory());
            let said = clinic.gateway.lazaret(&["apply"]);
            // Where the gateway is, the main file says; without it nobody can be asked.
            let lost = said.code == 6 && said.err.contains("cannot reach");
            assert!(said.code == 3 || lost, "{what}: {}", said.all());
            assert_eq!(client.exchange(&hl7::oru("A")).code, "AA", "{what}");
            kept.restore(&clinic.site);
        }
        let kept = Kept::of(&clinic.site);
        let (state, run) = (clinic.site.state(), clinic.site.runtime());
        let folders = format!("[gateway]\nstate_dir = {state:?}\nruntime_dir = {run:?}");
        let base = include_str!("../../config/tests/base.toml").replace("[gateway]", &folders);
        put(&clinic.site.directory(), "lazaret.toml", base.as_bytes());
        let mut tried = 0;
        for (path, text) in bad_texts() {
            // Whole configurations and those of several files are tried by the schema's own tests only.
            if text.contains("#--- ") || text.lines().any(|line| line.starts_with("schema")) {
                continue;
            }
            put(&clinic.site.directory(), "conf.d/bad.toml", text.as_bytes());
            let said = clinic.gateway.lazaret(&["apply"]);
            assert_eq!(said.code, 3, "{}: {}", path.display(), said.all());
            tried += 1;
        }
        assert!(tried > 30, "{tried}");
        kept.restore(&clinic.site);
        let rules = |table: &str| {
            table
                .lines()
                .filter(|line| !line.contains("counter"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(rules(&table()), rules(&before));
        assert_eq!(client.exchange(&hl7::oru("Z")).code, "AA");
        assert_eq!(
            clinic.gateway.status()["sessions"],
            1,
            "the connection is still the first one"
        );
        let _ = clinic.gateway.lazaret(&["apply"]).ok();
    });
}

/// A copy of the configuration folder.
struct Kept(tempfile::TempDir);

impl Kept {
    fn of(site: &Site) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(site.directory()).unwrap().flatten() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
        Self(folder)
    }

    fn restore(self, site: &Site) {
        std::fs::remove_dir_all(site.directory()).unwrap();
        std::fs::create_dir(site.directory()).unwrap();
        for entry in std::fs::read_dir(self.0.path()).unwrap().flatten() {
            std::fs::copy(entry.path(), site.directory().join(entry.file_name())).unwrap();
        }
    }
}

fn bad_texts() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/bad");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let texts = paths.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    texts
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mkfifo(path: &Path) {
    let status = std::process::Command::new("mkfifo")
        .arg(path)
        .status()
        .unwrap();
    assert!(status.success());
}
