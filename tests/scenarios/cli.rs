//! The command: what it answers on real configurations, and the exit codes that scripts rely on.

use e2e::{Clinic, Lab, Said, Site, fixture_path, lazaret, text};
use serde_json::Value;

#[test]
fn check_accepts_and_refuses() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _ = lazaret(lab, &site, &["check"]).ok();
        let right = site.template();
        let cases = [
            (
                "adress = \"10.20.2.11:2575\"",
                "address = \"10.20.2.10:2575\"",
                3,
                "address",
            ),
            (
                "to = [\"console-six\"]",
                "to = [\"console\", \"console-six\"]",
                4,
                "console",
            ),
            ("schema = 2", "schema = 1", 3, "schema"),
            ("to = [\"pacz\"]", "to = [\"pacs\"]", 3, "pacs"),
        ];
        for (wrong, correct, code, hint) in cases {
            // One is right in itself, and breaks what a test of the site says.
            if code == 4 {
                site.append("[[test]]\nfrom = \"device:desk-1\"\nallow = [\"console:tcp/22\"]\n");
            }
            site.replace(correct, wrong);
            let said = lazaret(lab, &site, &["check"]);
            assert_eq!(said.code, code, "{wrong}: {}", said.all());
            assert!(said.all().contains(hint), "{wrong}: {}", said.all());
            if code == 3 {
                assert!(
                    said.err.contains("lazaret.toml:"),
                    "file and line: {}",
                    said.err
                );
            }
            site.write(&right);
        }
        std::fs::remove_file(site.directory().join("lazaret.toml")).unwrap();
        assert_eq!(lazaret(lab, &site, &["check"]).code, 3);
    });
}

#[test]
fn explain_names_the_rule_or_what_is_missing() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let explain = |line: &[&str]| {
            let mut all = vec!["explain"];
            all.extend(line);
            lazaret(lab, &site, &all)
        };
        let said = explain(&["ecg-0042", "his-results", "--message", "ORU^R01"]).ok();
        assert!(said.out.contains("ecg-results"), "{}", said.out);
        assert!(said.out.contains("lazaret.toml:"), "{}", said.out);
        let said = explain(&["ecg-0042", "his-results", "--message", "ADT^A01"]);
        assert_eq!(said.code, 5, "{}", said.all());
        let said = explain(&["desk-1", "10.20.0.5:22"]).ok();
        assert!(said.out.contains("consoles"), "{}", said.out);
        let said = explain(&["ecg-0042", "10.20.0.5:22"]);
        assert_eq!(said.code, 5, "{}", said.all());
        let said = explain(&["us-07", "pacs", "--dimse", "C-STORE"]).ok();
        assert!(said.out.contains("us-images"), "{}", said.out);
        assert_eq!(explain(&["us-07", "pacs", "--dimse", "C-MOVE"]).code, 5);
        assert_ne!(explain(&["nobody", "pacs"]).code, 0);
    });
}

#[test]
fn inspect_judges_files_as_the_relay_does() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        for (folder, verdict, code) in [("accept", "accept", 0), ("refuse", "refuse", 5)] {
            for fixture in e2e::hl7::fixtures(folder) {
                // Rules are not part of an offline inspection; these two break none but rules.
                if ["01-type-not-allowed", "02-foreign-sender"].contains(&&*fixture.name) {
                    continue;
                }
                let file = lab.directory().join("message.hl7");
                std::fs::write(&file, &fixture.content).unwrap();
                let path = file.display().to_string();
                let said = lazaret(lab, &site, &["--json", "inspect", "hl7", &path]);
                assert_eq!(said.code, code, "{}: {}", fixture.name, said.all());
                let line: Value = serde_json::from_str(said.out.trim()).unwrap();
                assert_eq!(text(&line, "verdict"), verdict, "{}: {line}", fixture.name);
            }
        }
        let own = fixture_path("accept/01-minimal.hl7");
        assert_eq!(
            lazaret(lab, &site, &["inspect", "hl7", &own]).code,
            5,
            "our fixture has a first line"
        );
        // The same in words, when they are wanted.
        let inspect =
            |more: &[&str]| lazaret(lab, &site, &[&["inspect", "hl7", &own], more].concat());
        let json = lazaret(lab, &site, &["--json", "inspect", "hl7", &own]);
        let line: Value = serde_json::from_str(json.out.trim()).unwrap();
        let reason = text(&line, "reason");
        for language in ["en", "fr"] {
            let words = lazaret(lab, &site, &["words", reason, "--language", language]).ok();
            let last = words.out.lines().last().unwrap().trim();
            let sentence = last.strip_prefix(language).unwrap().trim();
            let said = inspect(&["--words", "--language", language]);
            assert!(said.out.contains(sentence), "{sentence}: {}", said.all());
            assert!(!inspect(&[]).out.contains(sentence));
        }
        assert_eq!(inspect(&["--language", "fr"]).code, 2);
    });
}

#[test]
fn a_running_gateway_is_described() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let status = clinic.gateway.status();
        assert_eq!(text(&status, "gateway"), "lab-1");
        assert_eq!(status["devices"]["configured"], 4);
        assert_eq!(status["table"], "as-planned");
        assert_eq!(status["journal"], "writable");
        let human = clinic.gateway.lazaret(&["status"]).ok();
        for word in ["lab-1", "lz-wg", "relay-hl7", "51820"] {
            assert!(human.out.contains(word), "{word}: {}", human.out);
        }
        let list = clinic.gateway.lazaret(&["device", "list"]).ok();
        for word in ["ecg-0042", "us-07", "desk-1", "10.64.0.1"] {
            assert!(list.out.contains(word), "{word}: {}", list.out);
        }
        assert!(!list.out.contains('\x1b'), "colours although NO_COLOR");
        let unchanged = clinic.gateway.lazaret(&["diff"]).ok();
        clinic
            .site
            .replace("[\"tcp/3389\", \"tcp/22\"]", "[\"tcp/3389\"]");
        let changed = clinic.gateway.lazaret(&["diff"]).ok();
        assert!(changed.out.contains("console"), "{}", changed.out);
        assert_ne!(unchanged.out, changed.out);
    });
}

#[test]
fn exit_codes_are_as_promised() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let code = |line: &[&str]| -> Said { lazaret(lab, &site, line) };
        for (line, expected) in [
            (&["version"][..], 0),
            (&["completion", "bash"], 0),
            (&["no-such-command"], 2),
            (&["device", "show"], 2),
            (&["cert", "revoke"], 2),
            (&["cert", "renew", "ecg-0042"], 2),
            (&["status"], 6),
            (&["apply"], 6),
        ] {
            let said = code(line);
            assert_eq!(said.code, expected, "{line:?}: {}", said.all());
        }
        let clinic = Clinic::open(lab);
        for (line, expected) in [
            (&["device", "show", "ecg-0042"][..], 0),
            (&["device", "show", "nobody"], 1),
            (&["device", "quarantine", "nobody"], 1),
            (&["confirm"], 7),
            (&["ca", "status"], 2),
            (&["cert", "list"], 2),
        ] {
            let said = clinic.gateway.lazaret(line);
            assert_eq!(said.code, expected, "{line:?}: {}", said.all());
        }
    });
}
