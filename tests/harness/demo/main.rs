//! The demo: real traffic of real peers through a real gateway, told on the terminal.
//!
//! In: nothing, or `--stay`. Out: what was accepted and refused and why; exit code 1 if anything was not as it should be.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it talks to a person, and ends with a panic when the world is broken"
)]

mod shell;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use e2e::hl7::{self, Client, Fixture, Reply};
use e2e::{
    Archive, Archiving, CONSOLE, Device, Gateway, His, Images, Lab, Output, Place, Site, data_set,
};

use story::{Attempt, Story};

fn main() -> ExitCode {
    let stay = std::env::args().any(|argument| argument == "--stay");
    if !Lab::is_inside() {
        let arguments: &[&str] = if stay { &["--stay"] } else { &[] };
        let status = Lab::enter(arguments, shell::write_shell);
        return if status.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let lab = Lab::create();
    let mut story = Story::default();
    let world = World::open(&lab, &mut story);
    let mut client = world.ecg.mllp(world.his.address());
    world.hl7(&mut story, &mut client);
    world.dicom(&mut story);
    world.ways_around(&mut story, &mut client);
    world.books(&mut story);
    let right = story.end();
    if stay {
        shell::write_command(&world.site);
        story.title("It stays up. In another terminal, here:");
        for line in shell::INVITATION {
            story.note(line);
        }
        story.note(&format!(
            "\n  The configuration is in {}",
            world.site.directory().display()
        ));
        story.note("Ctrl-C ends everything.");
        loop {
            std::thread::park();
        }
    }
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct World<'a> {
    site: Site,
    his: His,
    archive: Archive,
    images: Images,
    gateway: Gateway<'a>,
    ecg: Device<'a>,
    us: Device<'a>,
}

impl<'a> World<'a> {
    fn open(lab: &'a Lab, story: &mut Story) -> Self {
        story.title("A hospital, two homes, and a gateway between them");
        let site = Site::new(lab, include_str!("../../sites/demo.toml"));
        let his = His::start(lab);
        story.note(
            "hospital  HIS 10.20.2.10:2575 (python-hl7), PACS 10.20.1.10:104 (DCMTK dcmqrscp)",
        );
        let archive = Archive::start(lab, Archiving::Dcmqrscp);
        let images = Images::make(lab);
        let gateway = Gateway::start(lab, &site);
        let workers: Vec<String> = gateway.workers().into_keys().collect();
        story.note(&format!(
            "gateway   lazaret run, with workers {}",
            workers.join(", ")
        ));
        let ecg = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        story.note("home 1    ecg-0042 opened its tunnel (wireguard-go), address 10.64.0.1");
        let us = Device::connect(lab, &site, "us-07", Place::Home2);
        story.note("home 2    us-07 opened its tunnel (wireguard-go), address 10.64.0.2");
        Self {
            site,
            his,
            archive,
            images,
            gateway,
            ecg,
            us,
        }
    }

    fn hl7(&self, story: &mut Story, client: &mut Client) {
        story.title("The ECG sends HL7 to the HIS");
        for (folder, shown) in [("accept", ACCEPTED), ("refuse", REFUSED)] {
            let fixtures = hl7::fixtures(folder);
            for (name, what) in shown {
                let named = |fixture: &&Fixture| fixture.name.starts_with(name);
                let fixture = fixtures.iter().find(named).expect("a fixture");
                let before = self.his.received().len();
                let answer = client.exchange(&fixture.content);
                let arrived = self.his.received().get(before).cloned();
                let device = format!("{} {} {}", answer.code, answer.error, answer.location);
                let hospital = match &arrived {
                    Some(bytes) if *bytes == fixture.content => {
                        format!("{} bytes, identical", bytes.len())
                    }
                    Some(_) => "other bytes".to_owned(),
                    None => "nothing".to_owned(),
                };
                let right = match &arrived {
                    Some(bytes) => folder == "accept" && *bytes == fixture.content,
                    None => folder == "refuse",
                };
                story.attempt(&Attempt {
                    what,
                    passed: arrived.is_some(),
                    right: right && answer.code == fixture.code,
                    device: device.trim_end(),
                    hospital: &hospital,
                });
            }
        }
    }

    fn dicom(&self, story: &mut Story) {
        story.title("The ultrasound sends DICOM to the PACS");
        let file = self.images.path("us.dcm");
        let echo = self.us.echoscu("US07", "PACS1");
        self.asked(story, "C-ECHO", &echo, echo.code == 0, "answered");
        let store = self.us.storescu("US07", "PACS1", &[&file]);
        let stored = self.archive.stored();
        let same = stored
            .first()
            .is_some_and(|stored| tail(stored) == tail(Path::new(&file)));
        self.asked(
            story,
            "C-STORE of an ultrasound image",
            &store,
            store.code == 0 && same,
            "stored, same pixels",
        );

        let (mr, broken) = (self.images.path("mr.dcm"), "instance-mismatch");
        for (what, said) in [
            (
                "C-STORE of an MR image: not in the rule",
                self.us.storescu("US07", "PACS1", &[&mr]),
            ),
            (
                "the AE title of another device",
                self.us.storescu("OTHER", "PACS1", &[&file]),
            ),
            (
                "C-FIND: it may store, not ask",
                self.us.findscu("US07", "PACS1", &["StudyInstanceUID"]),
            ),
        ] {
            let right = self.archive.stored().len() == 1;
            self.refused(story, what, &said, right);
        }
        // The same object follows unbroken in the same association, and replaces the one that is there.
        let said = self.us.modality(broken, "US07", "PACS1", &file);
        let right = !said.out.contains("status 0000") && said.out.contains("again 0000");
        self.refused(
            story,
            "an image whose UID is not the command's",
            &said,
            right,
        );
    }

    fn asked(&self, story: &mut Story, what: &str, said: &Output, right: bool, hospital: &str) {
        let passed = said.code == 0;
        let hospital = if right { hospital } else { "nothing" };
        story.attempt(&Attempt {
            what,
            passed,
            right,
            device: &status(said),
            hospital,
        });
    }

    fn refused(&self, story: &mut Story, what: &str, said: &Output, right: bool) {
        let hospital = if right { "nothing" } else { "something" };
        story.attempt(&Attempt {
            what,
            passed: !right,
            right,
            device: &status(said),
            hospital,
        });
    }

    fn ways_around(&self, story: &mut Story, client: &mut Client) {
        story.title("Ways around");
        let short = Duration::from_millis(700);
        let neighbour = self.site.addresses("us-07")[0];
        for (what, to) in [
            (
                "the ECG opens a shell on a console: no rule",
                (CONSOLE, 22).into(),
            ),
            (
                "the ECG dials the ultrasound: devices never meet",
                (neighbour, 104).into(),
            ),
        ] {
            let reached = self.ecg.tcp_within(to, short).is_ok();
            let device = if reached { "connected" } else { "no answer" };
            story.attempt(&Attempt {
                what,
                passed: reached,
                right: !reached,
                device,
                hospital: "nothing",
            });
        }
        let said = self.gateway.lazaret(&["device", "quarantine", "ecg-0042"]);
        let before = self.his.received().len();
        let _ = client.send(&hl7::frame(&hl7::oru("DEMO-QUARANTINE")));
        let silent = !matches!(client.reply(short), Reply::Answer(_));
        let ended = said.code == 0 && silent && self.his.received().len() == before;
        let device = "no answer";
        let what = "the ECG is quarantined: its live connection";
        story.attempt(&Attempt {
            what,
            passed: !ended,
            right: ended,
            device,
            hospital: "nothing",
        });
        let said = self.gateway.lazaret(&["device", "release", "ecg-0042"]);
        let answer = self
            .ecg
            .mllp(self.his.address())
            .exchange(&hl7::oru("DEMO-LAST"));
        let right = said.code == 0 && answer.code == "AA";
        let what = "the ECG is released and sends again";
        story.attempt(&Attempt {
            what,
            passed: right,
            right,
            device: &answer.code,
            hospital: "received",
        });
    }

    /// What the operator sees afterwards.
    fn books(&self, story: &mut Story) {
        for line in [
            &["status"][..],
            &["device", "list"],
            &["explain", "ecg-0042", "his-results", "--message", "ORU^R01"],
            &["flow", "denied"],
            &["audit", "verify"],
        ] {
            story.title(&format!("lazaret {}", line.join(" ")));
            let said = self.gateway.lazaret(line);
            story.quote(&said);
            story.expect(said.code == 0);
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
    ("02", "the sender is not this device's own"),
    ("03", "version 9.9 does not exist"),
    ("06", "a NUL byte in a name"),
    ("07", "declares UTF-8 and is not"),
    ("10", "an escape sequence that never ends"),
];

/// The line of a DICOM client that tells most, shortened.
fn status(said: &Output) -> String {
    const TELLING: [&str; 6] = [
        "eject",
        "tatus",
        "Reason",
        "No Acceptable",
        "No presentation",
        "Success",
    ];
    let all = said.all();
    let telling = |line: &&str| TELLING.iter().any(|word| line.contains(word));
    let line = all
        .lines()
        .find(telling)
        .or_else(|| all.lines().next_back());
    let line = line
        .unwrap_or_default()
        .trim_start_matches(['I', 'E', 'W', 'F', ':', ' ']);
    let short: String = line.chars().take(34).collect();
    if short.is_empty() {
        format!("exit code {}", said.code)
    } else {
        short
    }
}

/// The end of a data set, where the pixels are: an archive may write the rest anew.
fn tail(path: &Path) -> Vec<u8> {
    let all = data_set(path);
    all[all.len().saturating_sub(4000)..].to_vec()
}
