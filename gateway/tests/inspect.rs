//! `lazaret inspect` as an operator calls it: what it reads, what it says, how it ends.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const GOOD: &str = "MSH|^~\\&|ECG|CARDIO|HIS|CHU|20261121225617||ORU^R01^ORU_R01|1|P|2.5\r\
                    PID|1||4711||Muster^Eva\rOBR|1||F|1|||20260101\rOBX|1|ST|1||x||||||F\r";
const BAD: &str = "MSH|^~\\&|ECG|CARDIO|HIS|CHU|20261121225617||ORU^R01^ORU_R01||P|2.5\r\
                   PID|1||4711||Muster^Eva\rOBR|1||F|1|||20260101\rOBX|1|ST|1||x||||||F\r";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            folder.write(name, content);
        }
        folder
    }

    fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.0.path().join(name.as_ref())
    }

    fn write(&self, name: impl AsRef<OsStr>, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
        command.current_dir(self.0.path());
        command.args(arguments.split(' '));
        command
    }

    fn run(&self, arguments: &str) -> (i32, String, String) {
        said(self.command(arguments).output().unwrap())
    }
}

fn said(output: Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// Without what differs between runs and machines.
fn steady(text: &str) -> String {
    let line = |line: &str| match line.split_once(" in ") {
        Some((before, rest)) if rest.contains("messages/s") => format!("{before} in …\n"),
        Some(_) | None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn a_folder_is_judged_in_order_and_summed_up() {
    let folder = Folder::new(&[
        ("in/b/1.hl7", BAD),
        ("in/a.hl7", GOOD),
        ("in/b/2.hl7", &BAD.replace("PID|1", "PID|one")),
        ("in/c.txt", "nothing to see"),
        ("in/.hidden", GOOD),
    ]);
    let (code, out, err) = folder.run("inspect hl7 in");
    assert_eq!((code, err.as_str()), (5, ""));
    insta::assert_snapshot!(steady(&out));
    let (code, out, err) = folder.run("inspect hl7 in --summary");
    assert_eq!((code, err.as_str()), (5, ""));
    assert!(out.starts_with("4 files, 4 messages, ") && !out.contains("accept "));

    let (code, out, err) = folder.run("--json inspect hl7 in");
    assert_eq!(
        (code, err.as_str()),
        (5, "lazaret: skipped 1 hidden name\n")
    );
    let files: Vec<String> = out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["file"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, ["in/a.hl7", "in/b/1.hl7", "in/b/2.hl7", "in/c.txt"]);
    let (_, out, _) = folder.run("--json inspect hl7 in --summary");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&json["v"], &json["refused"]["files"]),
        (&1.into(), &3.into())
    );

    // One file is told as ever, and what is missing is said where nothing else is lost.
    let (code, out, _) = folder.run("inspect hl7 in/a.hl7");
    assert_eq!((code, out.as_str()), (0, "accept  in/a.hl7  ORU^R01\n"));
    fs::create_dir(folder.path("empty")).unwrap();
    let (code, out, err) = folder.run("inspect hl7 gone empty in/a.hl7");
    assert_eq!(code, 1);
    assert!(err.contains("no files in empty") && err.contains("cannot read gone: "));
    assert!(
        out.contains("accept  in/a.hl7") && out.contains("unreadable      1\n"),
        "{out}"
    );
}

#[test]
fn how_messages_are_kept_is_said_and_not_guessed() {
    let two = GOOD.repeat(2);
    let folder = Folder::new(&[
        ("two.hl7", &two),
        ("lines.hl7", &two.replace('\r', "\n")),
        ("frames.hl7", &format!("\u{b}{GOOD}\u{1c}\r").repeat(2)),
        ("umlaut.hl7", &GOOD.replace("Muster", "Müller")),
    ]);
    for (file, switches, help) in [
        ("two.hl7", "--split", " --split judges "),
        (
            "lines.hl7",
            "--split --line-feeds",
            " --split --line-feeds ",
        ),
        ("frames.hl7", "--raw", " --raw judges\n"),
    ] {
        let (code, out, _) = folder.run(&format!("inspect hl7 {file}"));
        assert!(code == 5 && out.contains("\n        help  "), "{out}");
        assert!(
            out.contains(help) || out.contains(&format!("which{help}")),
            "{out}"
        );
        let (code, out, _) = folder.run(&format!("inspect hl7 {switches} {file}"));
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("  (2 messages)\n"), "{out}");
    }
    assert_eq!(folder.run("inspect hl7 --raw --split two.hl7").0, 2);
    assert_eq!(folder.run("inspect hl7 umlaut.hl7").0, 5);
    let mut command = folder.command("inspect hl7 umlaut.hl7 --charset");
    assert_eq!(said(command.arg("UNICODE UTF-8").output().unwrap()).0, 0);
    assert_eq!(folder.run("inspect hl7 umlaut.hl7 --charset EBCDIC").0, 2);
    folder.write("local.hl7", &format!("{GOOD}ZPD|1\r"));
    assert_eq!(folder.run("inspect hl7 local.hl7 --local ZBE,ZPD").0, 0);
    assert_eq!(folder.run("inspect hl7 local.hl7 --local ZBE").0, 5);
    assert_eq!(folder.run("inspect hl7 local.hl7 --local PID").0, 2);
    let (code, out, _) = folder.run("inspect dicom two.hl7");
    assert!(code == 5 && out.contains("which `inspect hl7` judges"));

    let mut child = folder
        .command("inspect hl7 --split -")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(two.as_bytes())
        .unwrap();
    let (code, out, _) = said(child.wait_with_output().unwrap());
    assert_eq!(
        (code, out.as_str()),
        (0, "accept  -  ORU^R01  (2 messages)\n")
    );
}

#[test]
fn a_batch_is_judged_where_it_is_asked_for() {
    let batch = |count| {
        let head = "BHS|^~\\&|ECG|CARDIO|HIS|CHU|20261121225617||||B1\r";
        format!(
            "{head}{GOOD}{}BTS|{count}\r",
            GOOD.replace("|1|P|", "|2|P|")
        )
    };
    let folder = Folder::new(&[("good.hl7", &batch(2)), ("short.hl7", &batch(3))]);
    let (code, said, _) = folder.run("inspect hl7 good.hl7");
    assert_eq!(code, 5);
    assert!(
        said.contains("batches are not carried") && said.contains("--batches"),
        "{said}"
    );
    let (code, said, _) = folder.run("inspect hl7 --batches good.hl7");
    assert_eq!(code, 0, "{said}");
    let (code, said, _) = folder.run("inspect hl7 --batches short.hl7");
    assert_eq!(code, 5);
    assert!(said.contains("BTS"), "{said}");
}

#[test]
fn explain_shows_places_and_hides_values() {
    let folder = Folder::new(&[("bad.hl7", BAD)]);
    let (code, out, err) = folder.run("inspect hl7 --explain bad.hl7");
    assert_eq!((code, err.as_str()), (5, ""));
    assert!(!out.contains("4711") && !out.contains("Muster"), "{out}");
    insta::assert_snapshot!(out);
    let (_, out, _) = folder.run("inspect hl7 --explain --show-values bad.hl7");
    assert!(out.contains("4711") && out.contains("Muster"), "{out}");
    assert_eq!(folder.run("inspect hl7 --show-values bad.hl7").0, 2);
    assert_eq!(folder.run("--json inspect hl7 --explain bad.hl7").0, 2);
}

#[test]
fn a_profile_of_the_site_is_a_file() {
    const PROFILES: &str = "[profile.heart]\n[[profile.heart.message]]\ntype = \"ORU^R01\"\n\
                            values = { \"OBX-2\" = [\"NM\"] }\n[profile.all]\n";
    let folder = Folder::new(&[
        ("text.hl7", GOOD),
        ("number.hl7", &GOOD.replace("|ST|1||x|", "|NM|1||7|")),
        ("site.toml", PROFILES),
    ]);
    let heart = "inspect hl7 --profile site.toml#heart";
    assert_eq!(folder.run(&format!("{heart} number.hl7")).0, 0);
    let (code, out, _) = folder.run(&format!("{heart} text.hl7"));
    assert!(code == 5 && out.contains("OBX-2"), "{out}");
    assert_eq!(
        folder.run("inspect hl7 --profile site.toml#all text.hl7").0,
        0
    );
    for (choice, why) in [
        ("site.toml", "all"),
        ("site.toml#none", "none"),
        ("strct", "strct"),
    ] {
        let (code, out, err) = folder.run(&format!("inspect hl7 --profile {choice} text.hl7"));
        assert!(code == 3 && out.is_empty() && err.contains(why), "{err}");
    }
}

#[test]
fn a_profile_judges_dicom_if_it_says_how() {
    const PROFILES: &str =
        "[profile.heart]\n[profile.scan]\n[profile.scan.dicom]\nelements = \"refuse\"\n";
    let folder = Folder::new(&[("no.dcm", "this is no DICOM"), ("site.toml", PROFILES)]);
    let scan = folder.run("inspect dicom --profile site.toml#scan no.dcm");
    assert_eq!(scan.0, 5, "{}", scan.2);
    let (code, out, err) = folder.run("inspect dicom --profile site.toml#heart no.dcm");
    assert!(code == 3 && out.is_empty(), "{err}");
    assert!(err.contains("[profile.heart.dicom]"), "{err}");
}

#[test]
fn many_files_strange_names_and_readers_that_leave() {
    let folder = Folder::new(&[]);
    for number in 0..2000 {
        // Long names, so that the output is more than a pipe holds.
        folder.write(format!("in/{number:0100}"), GOOD);
    }
    folder.write(OsStr::from_bytes(b"in/x\xff\x1b[2J"), BAD);
    let (code, out, err) = folder.run("inspect hl7 in");
    assert_eq!((code, err.as_str()), (5, ""));
    let verdicts: Vec<&str> = out.lines().take(2001).collect();
    assert!(verdicts.is_sorted(), "in order");
    assert!(verdicts[2000].starts_with("refuse  in/x\u{fffd}\u{fffd}[2J  ORU^R01"));

    let mut child = folder
        .command("inspect hl7 in")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    let (code, _, err) = said(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(first.starts_with("accept  in/00"));
}
