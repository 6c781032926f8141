//! The demo: real traffic of real peers through a real gateway, told on the terminal.
//!
//! In: nothing, or `--stay`. Out: what was accepted and refused and why; exit code 1 if anything was not as it should be.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "it talks to a person, and ends with a panic when the world is broken"
)]

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use e2e::{
    Archive, Archiving, CONSOLE, Device, Gateway, His, Images, Lab, Output, Place, Site, data_set,
    hl7, text,
};

fn main() -> ExitCode {
    let stay = std::env::args().any(|argument| argument == "--stay");
    if !Lab::is_inside() {
        let arguments: &[&str] = if stay { &["--stay"] } else { &[] };
        let status = Lab::enter(arguments, write_shell);
        return if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let lab = Lab::create();
    let mut story = Story::default();
    tell(&lab, &mut story, stay);
    if story.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(lab: &Lab, story: &mut Story, stay: bool) {
    story.title("A hospital, two homes, and a gateway between them");
    let site = Site::new(lab, include_str!("../sites/demo.toml"));
    let his = His::start(lab);
    story.note("hospital  HIS 10.20.2.10:2575 (python-hl7)   PACS 10.20.1.10:104 (dcmqrscp)");
    let archive = Archive::start(lab, Archiving::Dcmqrscp);
    let images = Images::make(lab);
    let gateway = Gateway::start(lab, &site);
    let workers: Vec<String> = gateway.workers().into_keys().collect();
    story.note(&format!("gateway   lazaret run: {}", workers.join(", ")));

    story.title("Two devices open their tunnels (wireguard-go)");
    let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
    let us = Device::connect(lab, &site, "us-07", Place::Home2);
    for device in ["ecg-0042", "us-07"] {
        let addresses = site.addresses(device);
        story.note(&format!("{device:<9} {} shook hands", addresses[0]));
    }

    story.title("The ECG sends HL7 to the HIS");
    let mut client = ecg.mllp(his.address());
    for (folder, names) in [("accept", ACCEPTED), ("refuse", REFUSED)] {
        for fixture in hl7::fixtures(folder) {
            let Some((_, what)) = names
                .iter()
                .find(|(name, _)| fixture.name.starts_with(name))
            else {
                continue;
            };
            let before = his.received().len();
            let answer = client.exchange(&fixture.content);
            let arrived = his.received().get(before).cloned();
            let right = answer.code == fixture.code && arrived.is_some() == (folder == "accept");
            let why = if answer.error.is_empty() {
                answer.code.clone()
            } else {
                format!("{} {} {}", answer.code, answer.error, answer.location)
            };
            let hospital = match &arrived {
                Some(bytes) if *bytes == fixture.content => {
                    format!("{} bytes, identical", bytes.len())
                }
                Some(_) => "DIFFERENT BYTES".to_owned(),
                None => "nothing".to_owned(),
            };
            story.exchange(arrived.is_some(), right, what, &why, &hospital);
        }
    }

    story.title("The ultrasound sends DICOM to the PACS (DCMTK)");
    let echo = us.echoscu("US07", "PACS1");
    story.exchange(
        echo.code == 0,
        echo.code == 0,
        "C-ECHO",
        &status(&echo),
        "answered",
    );
    let file = images.path("us.dcm");
    let store = us.storescu("US07", "PACS1", &[&file]);
    let same = archive
        .stored()
        .first()
        .is_some_and(|stored| pixels(stored) == pixels(Path::new(&file)));
    let hospital = if same {
        "stored, same pixels"
    } else {
        "NOT STORED"
    };
    story.exchange(
        store.code == 0,
        store.code == 0 && same,
        "C-STORE of an ultrasound image",
        &status(&store),
        hospital,
    );
    let before = archive.stored().len();
    for (what, said) in [
        (
            "C-STORE of an MR image: not in the rule",
            us.storescu("US07", "PACS1", &[&images.path("mr.dcm")]),
        ),
        (
            "calling AE title of another device",
            us.storescu("DESK1", "PACS1", &[&file]),
        ),
        (
            "C-FIND: may store, not ask",
            us.findscu("US07", "PACS1", &["StudyInstanceUID"]),
        ),
        (
            "image whose UID is not the command's",
            us.modality("instance-mismatch", "US07", "PACS1", &file),
        ),
    ] {
        let more = archive.stored().len() - before;
        // The last script sends a right image afterwards, to show that the association lives on.
        let right = more <= usize::from(what.starts_with("image"));
        story.exchange(false, right, what, &status(&said), "nothing wrong stored");
    }

    story.title("Ways around");
    let reached = ecg
        .tcp_within((CONSOLE, 22).into(), Duration::from_millis(700))
        .is_ok();
    story.exchange(
        reached,
        !reached,
        "ECG opens a shell on a console: no rule",
        "no answer",
        "nothing",
    );
    let neighbour = site.addresses("us-07")[0];
    let reached = ecg
        .tcp_within((neighbour, 104).into(), Duration::from_millis(700))
        .is_ok();
    story.exchange(
        reached,
        !reached,
        "ECG dials the ultrasound: devices never meet",
        "no answer",
        "nothing",
    );
    let _ = gateway.lazaret(&["device", "quarantine", "ecg-0042"]);
    let ended = !matches!(
        client.reply(Duration::from_secs(2)),
        hl7::Reply::Nothing | hl7::Reply::Answer(_)
    );
    story.exchange(
        false,
        ended,
        "ECG is quarantined: its live connection ends",
        "closed",
        "nothing",
    );
    let _ = gateway.lazaret(&["device", "release", "ecg-0042"]);
    let again = ecg.mllp(his.address()).exchange(&hl7::oru("DEMO-LAST"));
    story.exchange(
        true,
        again.code == "AA",
        "ECG is released and sends again",
        &again.code,
        "message received",
    );

    for line in [
        &["status"][..],
        &["device", "list"],
        &["flow", "denied"],
        &["audit", "verify"],
    ] {
        story.title(&format!("lazaret {}", line.join(" ")));
        let said = gateway.lazaret(line);
        story.quote(&said);
        story.expect(said.code == 0);
    }
    story.note("");
    story.end();
    if stay {
        invite(story, &site, &gateway);
        loop {
            std::thread::park();
        }
    }
}

/// Fixtures that are shown, by the beginning of their names.
const ACCEPTED: &[(&str, &str)] = &[
    ("01", "ORU^R01, a heart rate"),
    ("03", "ORU^R01 with 60 observations"),
    ("06", "ORU^R01 in UTF-8"),
    ("09", "ORU^R40, an alarm"),
];
const REFUSED: &[(&str, &str)] = &[
    ("01", "ADT^A01: no rule lets an ECG admit patients"),
    ("02", "sender is not this device's own"),
    ("03", "version 9.9 does not exist"),
    ("06", "NUL byte in a name"),
    ("07", "declares UTF-8, is not"),
    ("10", "escape sequence that never ends"),
];

/// What is said on the terminal, and how often it was not as it should be.
#[derive(Default)]
struct Story {
    right: usize,
    wrong: usize,
}

impl Story {
    fn title(&self, text: &str) {
        println!("\n{}", paint("1", text));
    }

    fn note(&self, text: &str) {
        println!("  {text}");
    }

    fn exchange(&mut self, passed: bool, right: bool, what: &str, device: &str, hospital: &str) {
        self.expect(right);
        let verdict = if passed {
            paint("32", "accepted")
        } else {
            paint("33", "refused ")
        };
        let mark = if right { "" } else { "   <- NOT AS EXPECTED" };
        println!(
            "  {verdict}  {what:<46} device: {device:<22} hospital: {hospital}{}",
            paint("31;1", mark)
        );
    }

    fn quote(&self, said: &Output) {
        for line in said.all().lines() {
            println!("  {line}");
        }
    }

    fn expect(&mut self, right: bool) {
        if right {
            self.right += 1;
        } else {
            self.wrong += 1;
        }
    }

    fn end(&self) {
        let colour = if self.wrong == 0 { "32;1" } else { "31;1" };
        let text = format!(
            "{} things were as they should be, {} were not",
            self.right, self.wrong
        );
        println!("{}", paint(colour, &text));
    }
}

fn paint(colour: &str, text: &str) -> String {
    if text.is_empty() || std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal()
    {
        return text.to_owned();
    }
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// The last line with a DIMSE status or a rejection, shortened.
fn status(said: &Output) -> String {
    let all = said.all();
    let telling = |line: &&str| {
        [
            "Status",
            "status",
            "Reject",
            "Reason",
            "No Acceptable",
            "rejected",
            "Refused",
        ]
        .iter()
        .any(|word| line.contains(word))
    };
    let line = all
        .lines()
        .filter(telling)
        .next_back()
        .or_else(|| all.lines().next_back());
    let line = line
        .unwrap_or_default()
        .trim_start_matches(['I', 'E', 'W', 'F', ':', ' ']);
    let short: String = line.chars().take(40).collect();
    if short.is_empty() {
        format!("exit code {}", said.code)
    } else {
        short
    }
}

/// The end of a data set, where the pixels are: archives may write the rest anew.
fn pixels(path: &Path) -> Vec<u8> {
    let all = data_set(path);
    all[all.len().saturating_sub(4096)..].to_vec()
}

fn folder() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    root.canonicalize()
        .expect("the project")
        .join("target/demo")
}

/// Writes `target/demo/sh PLACE COMMAND…`, which works while the demo stays.
fn write_shell(keeper: u32) {
    let script = format!(
        "#!/bin/sh\n# Runs a command at a place of the running demo.\n\
         [ $# -ge 2 ] || {{ echo \"usage: $0 home1|home2|clinician|internet|gateway|hospital COMMAND...\" >&2; exit 2; }}\n\
         inner=$(cat /proc/{keeper}/task/{keeper}/children 2>/dev/null) || {{ echo 'no demo is running' >&2; exit 1; }}\n\
         exec nsenter --target \"${{inner%% *}}\" --user --preserve-credentials --mount --net --pid -- ip netns exec \"$@\"\n"
    );
    write_executable("sh", &script);
}

fn write_executable(name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(folder()).expect("target/demo");
    let path = folder().join(name);
    std::fs::write(&path, script).expect("a script in target/demo");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn invite(story: &Story, site: &Site, gateway: &Gateway<'_>) {
    let program = folder().with_file_name("debug").join("lazaret");
    let command = format!(
        "#!/bin/sh\nexec {}/sh gateway {} --config {} \"$@\"\n",
        folder().display(),
        program.display(),
        site.directory().display()
    );
    write_executable("lazaret", &command);
    let message = folder().join("message.hl7");
    std::fs::write(&message, hl7::frame(&hl7::oru("BY-HAND"))).expect("a message");
    story.title("It stays up. In another terminal:");
    for line in [
        "target/demo/lazaret status",
        "target/demo/lazaret explain ecg-0042 10.20.0.5:22",
        "target/demo/lazaret audit tail",
        "target/demo/lazaret device quarantine us-07",
        "target/demo/sh gateway wg show",
        "target/demo/sh gateway nft list ruleset",
        "target/demo/sh home1 target/peers/bin/mllp_send --port 2575 --file target/demo/message.hl7 10.20.2.10",
        "target/demo/sh home2 /usr/bin/echoscu -v -aet US07 -aec PACS1 10.20.1.10 104",
    ] {
        story.note(line);
    }
    let version = gateway.json(&["status"]);
    story.note(&format!(
        "\n  configuration of {}: {}",
        text(&version, "gateway"),
        site.directory().display()
    ));
    story.note("Ctrl-C ends everything.");
}
