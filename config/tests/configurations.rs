//! Configurations as data: those that are refused, each with its message and its nearest accepted twin, and the examples.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test must fail it, in its helpers too"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lazaret_config::{Config, Pki, Source};

/// `bad/NAME.toml` is refused with `bad/NAME.txt`; with the lines that follow `#=` put in their places it is accepted.
///
/// A file without `schema` stands beside `base.toml`; `#--- PATH` begins another file.
/// `UPDATE=1` writes the messages anew.
#[test]
fn bad_files_are_refused_and_their_twins_accepted() {
    let dir = keys();
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = Vec::new();
    let bad = files(&root("tests/bad"), "toml");
    assert!(bad.len() >= 40, "only {} bad files", bad.len());
    for path in bad {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected = path.with_extension("txt");
        match Config::from_sources(dir.path(), &parse(&name, &text, false)) {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(errors) => {
                let shown = format!("{errors}\n").replace(&dir.path().display().to_string(), "DIR");
                assert!(!shown.contains(SECRET), "{name} shows a secret:\n{shown}");
                if update {
                    fs::write(&expected, &shown).unwrap();
                }
                if fs::read_to_string(&expected).unwrap_or_default() != shown {
                    wrong.push(format!("{name}: another message:\n{shown}"));
                }
            }
        }
        if let Err(errors) = Config::from_sources(dir.path(), &parse(&name, &text, true)) {
            wrong.push(format!("{name}: the twin is refused:\n{errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_message_belongs_to_a_file() {
    for path in files(&root("tests/bad"), "txt") {
        assert!(path.with_extension("toml").exists(), "{}", path.display());
    }
}

#[test]
fn examples_load_and_their_tests_hold() {
    for example in ["minimal", "clinic", "hospital", "appliance"] {
        let dir = keys();
        copy(&root("examples").join(example), dir.path());
        let config = Config::load(dir.path()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.run_tests(), [], "{example}");
        assert!(!config.tests.is_empty(), "{example}");
    }
}

#[test]
fn an_empty_table_pki_says_what_its_default_says() {
    let dir = keys();
    let base = fs::read_to_string(root("tests/base.toml")).unwrap();
    let config = |more: &str| {
        let source = Source {
            path: "lazaret.toml".into(),
            text: format!("{base}{more}"),
        };
        Config::from_sources(dir.path(), &[source]).unwrap_or_else(|errors| panic!("{errors}"))
    };
    assert_eq!(config("").pki, None);
    assert_eq!(config("\n[pki]\n").pki, Some(Pki::default()));
}

#[test]
fn a_profile_is_read_from_a_file_alone() {
    let profile = |path: &Path, name| lazaret_config::profile_from_file(path, name);
    let example = root("examples/profiles/ecg-home.toml");
    let only = profile(&example, None).unwrap();
    assert_eq!(only.name.as_str(), "ecg-home");
    assert_eq!((only.origin.line, &only.origin.file), (5, &example));
    assert_eq!((only.messages.len(), only.observations.len()), (1, 5));
    assert_eq!(profile(&example, Some("ecg-home")).unwrap(), only);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.toml");
    let failed = |text: &str, name| {
        fs::write(&path, text).unwrap();
        let shown = profile(&path, name).unwrap_err().to_string();
        shown.replace(&dir.path().display().to_string(), "DIR")
    };
    let two = "[profile.a]\n[profile.b]\n[device.x]\nanything = 1\n";
    for (text, name, told) in [
        (
            two,
            None,
            "DIR/p.toml holds 2 profiles: name one of `a`, `b`, such as DIR/p.toml#a",
        ),
        (
            two,
            Some("c"),
            "there is no profile `c` in DIR/p.toml, but one of `a`, `b`",
        ),
        ("", None, "there is no table [profile.NAME] in DIR/p.toml"),
        (
            "[profile.strict]",
            None,
            "DIR/p.toml:1:10: `strict` is a profile that needs no table",
        ),
        (
            "[profile.a]\nbases = 1",
            None,
            "DIR/p.toml:2:1: unknown key `bases` in [profile.a]",
        ),
        ("[profile.a", None, "DIR/p.toml:1:11: not TOML"),
    ] {
        let shown = failed(text, name);
        assert!(shown.starts_with(told), "{shown}");
    }
    fs::write(&path, two).unwrap();
    assert_eq!(profile(&path, Some("b")).unwrap().name.as_str(), "b");
    let missing = profile(&dir.path().join("none.toml"), None).unwrap_err();
    assert!(missing.to_string().starts_with("cannot read "), "{missing}");
}

#[test]
fn a_test_that_does_not_hold_says_why() {
    let dir = keys();
    copy(&root("examples/minimal"), dir.path());
    let part = "[[test]]\nfrom = \"role:ecg\"\nallow = [\"his-results#ADT^A01\"]\ndeny = [\"his-results\"]\n";
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(dir.path().join("conf.d/x.toml"), part).unwrap();
    fs::write(dir.path().join("conf.d/ignored.txt"), "nonsense").unwrap();
    let config = Config::load(dir.path()).unwrap();
    let failures: Vec<String> = config
        .run_tests()
        .iter()
        .map(|failure| {
            failure
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR")
        })
        .collect();
    assert_eq!(
        failures,
        [
            "DIR/conf.d/x.toml:1: role:ecg should reach his-results#ADT^A01: rule ecg-results allows ORU^R01 only",
            "DIR/conf.d/x.toml:1: role:ecg should not reach his-results: allowed by rule ecg-results (DIR/lazaret.toml:26)",
        ]
    );
}

#[test]
fn unreadable_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let errors = Config::load(dir.path()).unwrap_err().to_string();
    assert!(errors.contains("lazaret.toml: No such file"), "{errors}");
    fs::write(dir.path().join("lazaret.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    let errors = Config::load(dir.path()).unwrap_err().to_string();
    let first = errors.lines().next().unwrap_or_default();
    assert!(
        first.ends_with("lazaret.toml:2:6: the file is not UTF-8"),
        "{errors}"
    );
}

#[test]
fn the_runtime_directory_is_found_in_broken_files() {
    let dir = tempfile::tempdir().unwrap();
    let found = |text: &str| {
        fs::write(dir.path().join("lazaret.toml"), text).unwrap();
        lazaret_config::runtime_dir(dir.path())
    };
    assert_eq!(
        found("[gateway]\nruntime_dir = \"/tmp/x\"\n[oops"),
        Path::new("/tmp/x")
    );
    assert_eq!(found("gateway = 3"), Path::new("/run/lazaret"));
    assert_eq!(
        found("[gateway]\nruntime_dir = \"x\""),
        Path::new("/run/lazaret")
    );
    fs::remove_file(dir.path().join("lazaret.toml")).unwrap();
    assert_eq!(
        lazaret_config::runtime_dir(dir.path()),
        Path::new("/run/lazaret")
    );
}

#[test]
fn hostile_texts_are_only_errors() {
    let dir = keys();
    let deep = format!("[role.x]\ndescription = {}", "[".repeat(100_000));
    let control = "[role.x]\n\"\\u001b[2J\" = 1\n".to_owned();
    for text in [deep, control] {
        let errors = Config::from_sources(dir.path(), &parse("x", &text, false)).unwrap_err();
        let shown = errors.to_string();
        assert!(!shown.contains('\u{1b}') && shown.len() < 2000, "{shown}");
    }
}

#[test]
fn errors_are_bounded() {
    let dir = keys();
    let mut text = String::new();
    for number in 0..1000 {
        text.push_str(&format!("[role.r{number}]\ncolour = 1\n"));
    }
    let errors = Config::from_sources(dir.path(), &parse("many", &text, false)).unwrap_err();
    assert_eq!((errors.errors().len(), errors.total()), (50, 1000));
    assert!(errors.to_string().ends_with("and 950 more"));
}

/// A directory with key files of every kind.
fn keys() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, contents, mode) in [
        ("wireguard.key", KEY, 0o600),
        ("patient.key", KEY, 0o600),
        ("clinic-router.psk", KEY, 0o400),
        ("dr-martin.psk", KEY, 0o600),
        ("open.key", KEY, 0o644),
        ("short.key", "c2hvcnQ=", 0o600),
        ("root.pem", ROOT, 0o644),
        ("hospital-root.pem", ROOT, 0o644),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir(dir.path().join("folder.key")).unwrap();
    dir
}

/// The files of one test; with or without the accepted lines.
fn parse(name: &str, text: &str, accepted: bool) -> Vec<Source> {
    let mut sources = Vec::new();
    if !text
        .lines()
        .any(|line| line.starts_with("schema") || line.starts_with("#= schema"))
    {
        let base = fs::read_to_string(root("tests/base.toml")).unwrap();
        sources.push(source("lazaret.toml", base));
        sources.push(source(&format!("conf.d/{name}.toml"), String::new()));
    } else {
        sources.push(source("lazaret.toml", String::new()));
    }
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("#--- ") {
            sources.push(source(path, String::new()));
            continue;
        }
        let line = match line.split_once("#=") {
            Some((_, twin)) if accepted => twin.trim(),
            Some((bad, _)) => bad.trim_end(),
            None => line,
        };
        let last = sources.last_mut().unwrap();
        last.text.push_str(line);
        last.text.push('\n');
    }
    sources
}

fn source(path: &str, text: String) -> Source {
    Source {
        path: PathBuf::from(path),
        text,
    }
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    paths.sort();
    paths
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A key like any other, for files.
const KEY: &str = "aFiEC1rdOSD8G/y+rgmvawrIkFQyJlygWGYebd/qM+s=\n";
/// What has the shape of a certificate.
const ROOT: &str = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
/// The key that some bad files hold where it does not belong.
const SECRET: &str = "o8acdREAFXWtInzryTMBqAhyIjQu8Mts";
