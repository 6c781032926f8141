//! A first configuration, asked for at the console.
//!
//! In: answers, each checked at once with the types of the configuration. Out: the same file that a stick would have brought, imported in the same way.

use std::fmt::Write;
use std::path::Path;

use lazaret_config::{Word, certificates, check_password};
use zeroize::Zeroizing;

use super::screen::Screen;
use crate::cli::{CliError, Exit, setup};
use crate::setup::{self as machine, Places, network};

/// What was answered; the next round offers it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answers {
    name: String,
    /// Interface, and its addresses or `dhcp`, and its gateways.
    interfaces: Vec<(String, String, String)>,
    dns: String,
    ntp: String,
    zone: String,
    hospital: String,
    tunnel: String,
    root: String,
}

/// There is nothing to ask.
const ALREADY: &str =
    "there is a configuration already: change it, or erase it with `factory-reset`";
/// Nobody answers any more.
const GONE: &str = "the setup was left; nothing was changed";

/// Asks until there is a configuration in force; `Ok(false)` if it was not wanted in the end.
pub(in crate::cli) fn run(places: &Places, screen: &mut dyn Screen) -> Result<bool, CliError> {
    if places.provisioned() {
        return Err(CliError::new(Exit::Usage, ALREADY));
    }
    let links: Vec<String> = network::links(places).into_keys().collect();
    let mut answers = Answers::default();
    screen.print(WELCOME)?;
    loop {
        ask(&mut answers, &links, screen)?;
        let password = password(screen)?;
        screen.print(&summary(&answers))?;
        match choose("Put this into force? (yes, again, no)", screen)?.as_str() {
            "yes" => {}
            "again" => continue,
            _ => return Ok(false),
        }
        // There are two consoles: somebody may have been quicker at the other.
        if places.provisioned() {
            return Err(CliError::new(Exit::Usage, ALREADY));
        }
        let text = Zeroizing::new(text(&answers, &password));
        match machine::import(places, Path::new("your answers"), &text) {
            Ok(imported) => {
                screen.print("The configuration is in force after the next start.\n")?;
                if let Some(key) = imported.public_key {
                    screen.print(&format!("Public key of the gateway: {key}\n"))?;
                }
                return Ok(true);
            }
            Err(error) => screen.print(&format!(
                "{}\nPlease answer again.\n",
                setup::refused(error)
            ))?,
        }
    }
}

fn ask(answers: &mut Answers, links: &[String], screen: &mut dyn Screen) -> Result<(), CliError> {
    let one = |word: Word| move |text: &str| word.check(text);
    let some = |word: Word| {
        move |text: &str| {
            text.split_whitespace()
                .try_for_each(|part| word.check(part))
        }
    };
    answers.name = question(
        "Name of the gateway",
        &answers.name,
        one(Word::GatewayName),
        screen,
    )?;
    let list = if links.is_empty() {
        "none found".to_owned()
    } else {
        links.join(" ")
    };
    screen.print(&format!("Interfaces: {list}\n"))?;
    let before = std::mem::take(&mut answers.interfaces);
    for link in links {
        let known = before.iter().find(|(name, ..)| name == link);
        let (old, gateway) =
            known.map_or(("-", "-"), |(_, addresses, gateway)| (addresses, gateway));
        let asked = format!("Addresses of {link}, such as 192.0.2.10/24, or dhcp (- is none)");
        let check = |text: &str| match text {
            "-" | "dhcp" => Ok(()),
            "" => Err("write -, dhcp or addresses".to_owned()),
            text => some(Word::HostAddress)(text),
        };
        let addresses = question(&asked, old, check, screen)?;
        let gateway = match addresses.as_str() {
            "-" => continue,
            "dhcp" => "-".to_owned(),
            _ => {
                let asked = format!("Default gateway at {link} (- is none)");
                question(&asked, gateway, optional(some(Word::Address)), screen)?
            }
        };
        answers.interfaces.push((link.clone(), addresses, gateway));
    }
    let dns = "Name servers (- is none, or those of DHCP)";
    answers.dns = question(
        dns,
        or(&answers.dns, "-"),
        optional(some(Word::Address)),
        screen,
    )?;
    let ntp = "Time servers (- is none, or those of DHCP)";
    answers.ntp = question(
        ntp,
        or(&answers.ntp, "-"),
        optional(some(Word::TimeServer)),
        screen,
    )?;
    answers.zone = question(
        "Time zone",
        or(&answers.zone, "UTC"),
        one(Word::TimeZone),
        screen,
    )?;
    let last = answers
        .interfaces
        .last()
        .map(|(name, ..)| name.clone())
        .unwrap_or_default();
    let hospital = or(&answers.hospital, &last).to_owned();
    let asked = "Interface to the hospital";
    answers.hospital = question(asked, &hospital, one(Word::Interface), screen)?;
    let asked = "Networks of the tunnel";
    let tunnel = or(&answers.tunnel, "10.64.0.0/16").to_owned();
    answers.tunnel = question(asked, &tunnel, some(Word::Network), screen)?;
    answers.root = certificate(screen)?;
    Ok(())
}

/// Asks until the answer is right; nothing is the answer in brackets.
fn question(
    asked: &str,
    before: &str,
    check: impl Fn(&str) -> Result<(), String>,
    screen: &mut dyn Screen,
) -> Result<String, CliError> {
    let prompt = match before {
        "" => format!("{asked}: "),
        before => format!("{asked} [{before}]: "),
    };
    loop {
        let line = screen.line(&prompt)?.ok_or_else(gone)?;
        let answer = match line.trim() {
            "" => before,
            some => some,
        };
        let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
        let checked = match answer.is_empty() {
            true => Err("an answer is needed".to_owned()),
            false => check(&answer),
        };
        match checked {
            Ok(()) => return Ok(answer),
            Err(why) => screen.print(&format!("  {why}\n"))?,
        }
    }
}

/// A new password, twice.
pub(super) fn password(screen: &mut dyn Screen) -> Result<Zeroizing<String>, CliError> {
    loop {
        let first = screen
            .secret("New password of the console: ")?
            .ok_or_else(gone)?;
        if let Err(why) = check_password(&first) {
            screen.print(&format!("  {why}\n"))?;
            continue;
        }
        let second = screen.secret("The same again: ")?.ok_or_else(gone)?;
        if first == second {
            return Ok(first);
        }
        screen.print("  They are not the same.\n")?;
    }
}

/// A certificate by paste; it ends with its last line.
fn certificate(screen: &mut dyn Screen) -> Result<String, CliError> {
    loop {
        screen.print("Root certificate of the hospital: paste it, or an empty line for none.\n")?;
        let mut text = String::new();
        loop {
            let line = screen.line("")?.ok_or_else(gone)?;
            let line = line.trim();
            if line.is_empty() && text.is_empty() {
                return Ok(text);
            }
            text.push_str(line);
            text.push('\n');
            if line == "-----END CERTIFICATE-----" || text.len() > LONGEST_PASTE {
                break;
            }
        }
        match certificates(&text) {
            Ok(_) => {
                screen.print("The certificate was read.\n")?;
                return Ok(text);
            }
            Err(error) => screen.print(&format!("  {error}\n"))?,
        }
    }
}

fn choose(asked: &str, screen: &mut dyn Screen) -> Result<String, CliError> {
    let check = |text: &str| match text {
        "yes" | "again" | "no" => Ok(()),
        _ => Err("yes, again or no".to_owned()),
    };
    question(asked, "", check, screen)
}

fn optional(check: impl Fn(&str) -> Result<(), String>) -> impl Fn(&str) -> Result<(), String> {
    move |text| match text {
        "-" => Ok(()),
        text => check(text),
    }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn summary(answers: &Answers) -> String {
    let mut text = String::from("\n");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<18} {value}");
    };
    row("name", &answers.name);
    for (name, addresses, gateway) in &answers.interfaces {
        let gateway = match gateway.as_str() {
            "-" => String::new(),
            some => format!(", gateway {some}"),
        };
        row(name, &format!("{addresses}{gateway}"));
    }
    row("name servers", &answers.dns);
    row("time servers", &answers.ntp);
    row("time zone", &answers.zone);
    row("hospital at", &answers.hospital);
    row("tunnel", &answers.tunnel);
    let root = if answers.root.is_empty() {
        "none"
    } else {
        "as pasted"
    };
    row("root certificate", root);
    text
}

/// The file that a stick would have brought. Every answer was checked, so none has a quote.
fn text(answers: &Answers, password: &str) -> String {
    let list = |text: &str| {
        let words = text.split_whitespace().map(|word| format!("\"{word}\""));
        words.collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "# Made by the setup at the console.\nschema = 1\n\n[gateway]\nname = \"{}\"\n\n[appliance]\ntimezone = \"{}\"\n",
        answers.name, answers.zone
    );
    for (key, servers) in [("dns", &answers.dns), ("ntp", &answers.ntp)] {
        if servers != "-" {
            let _ = writeln!(text, "{key} = [{}]", list(servers));
        }
    }
    if !answers.root.is_empty() {
        let _ = writeln!(text, "hospital_root = \"{ROOT_FILE}\"");
    }
    for (name, addresses, gateway) in &answers.interfaces {
        let _ = writeln!(text, "\n[appliance.interface.\"{name}\"]");
        if addresses == "dhcp" {
            text.push_str("dhcp = true\n");
            continue;
        }
        let _ = writeln!(text, "addresses = [{}]", list(addresses));
        if gateway != "-" {
            let _ = writeln!(text, "gateway = [{}]", list(gateway));
        }
    }
    let _ = write!(
        text,
        "\n[tunnel.wireguard]\nlisten = \"[::]:51820\"\ninterface = \"lz-wg\"\nprivate_key_file = \"wireguard.key\"\nnetworks = [{}]\n\n[hospital]\ninterface = \"{}\"\n",
        list(&answers.tunnel),
        answers.hospital
    );
    let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = write!(text, "\n[secrets]\nadmin_password = \"{quoted}\"\n");
    if !answers.root.is_empty() {
        let _ = write!(
            text,
            "[secrets.files]\n\"{ROOT_FILE}\" = '''\n{}'''\n",
            answers.root
        );
    }
    text
}

fn gone() -> CliError {
    CliError::new(Exit::Failure, GONE)
}

const WELCOME: &str = "\nThis gateway has no configuration yet, and nothing reaches it.\n\
    Answer the questions, or restart it with a stick labelled LAZARET that holds lazaret.toml.\n\n";
const ROOT_FILE: &str = "hospital-root.pem";
/// Longest paste in bytes. //= C7
const LONGEST_PASTE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::{fs, io};

    use super::*;

    /// Answers in order, and what was shown.
    struct Script {
        answers: VecDeque<&'static str>,
        shown: String,
    }

    impl Screen for Script {
        fn print(&mut self, text: &str) -> io::Result<()> {
            self.shown.push_str(text);
            Ok(())
        }
        fn line(&mut self, prompt: &str) -> io::Result<Option<String>> {
            let answer = self.answers.pop_front();
            self.shown
                .push_str(&format!("{prompt}{}\n", answer.unwrap_or("(gone)")));
            Ok(answer.map(str::to_owned))
        }
        fn secret(&mut self, prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
            self.shown.push_str(&format!("{prompt}\n"));
            Ok(self
                .answers
                .pop_front()
                .map(|text| Zeroizing::new(text.to_owned())))
        }
    }

    fn site() -> (tempfile::TempDir, Places) {
        let root = tempfile::tempdir().unwrap();
        for link in ["ens3", "ens4"] {
            fs::create_dir_all(root.path().join("sys/class/net").join(link)).unwrap();
        }
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        (root, places)
    }

    fn script(answers: &[&'static str]) -> Script {
        Script {
            answers: answers.iter().copied().collect(),
            shown: String::new(),
        }
    }

    const ANSWERS: [&str; 21] = [
        "nord 1",
        "nord-1",
        "192.0.2.10",
        "192.0.2.10/24",
        "192.0.2.1",
        "dhcp",
        "dns.example.org",
        "10.20.0.2",
        "-",
        "Paris",
        "Europe/Paris",
        "",
        "10.64.0.1/16",
        "10.64.0.0/16",
        "-----BEGIN CERTIFICATE-----",
        "MAMCAQE=",
        "-----END CERTIFICATE-----",
        "short",
        "correct \"horse\\",
        "correct \"horse",
        "correct \"horse\\",
    ];

    #[test]
    fn asks_again_until_each_answer_is_right() {
        let (_root, places) = site();
        let mut screen = script(&ANSWERS);
        screen.answers.extend(["correct \"horse\\", "maybe", "yes"]);
        assert!(run(&places, &mut screen).unwrap());
        let key = screen.shown.find("Public key").unwrap();
        insta::assert_snapshot!(&screen.shown[..key]);
        assert!(!screen.shown.contains("horse") && screen.answers.is_empty());
        let text = fs::read_to_string(places.config().join("lazaret.toml")).unwrap();
        insta::assert_snapshot!(text);
        let hash = fs::read_to_string(places.admin()).unwrap();
        assert!(machine::secret::verify(b"correct \"horse\\", &hash));
        assert_eq!(run(&places, &mut screen).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn what_does_not_fit_together_is_asked_again_with_the_old_answers() {
        let (_root, places) = site();
        let first = [
            "nord-1",
            "-",
            "10.20.0.9/24",
            "10.21.0.1",
            "-",
            "-",
            "UTC",
            "ens4",
            "10.64.0.0/16",
            "",
            "correct horse",
            "correct horse",
            "yes",
        ];
        let again = [
            "",
            "",
            "",
            "10.20.0.1",
            "",
            "",
            "",
            "",
            "",
            "",
            "correct horse",
            "correct horse",
            "again",
        ];
        let last = [
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "correct horse",
            "correct horse",
            "yes",
        ];
        let mut screen = script(&[&first[..], &again, &last].concat());
        assert!(run(&places, &mut screen).unwrap(), "{}", screen.shown);
        assert!(
            screen
                .shown
                .contains("the gateway is in no network of the interface"),
            "{}",
            screen.shown
        );
        let text = fs::read_to_string(places.config().join("lazaret.toml")).unwrap();
        assert!(
            text.contains("gateway = [\"10.20.0.1\"]") && !text.contains("ens3"),
            "{text}"
        );
    }

    #[test]
    fn who_leaves_changes_nothing() {
        for answers in [&ANSWERS[..0], &ANSWERS[..5], &ANSWERS[..16], &ANSWERS[..20]] {
            let (_root, places) = site();
            let error = run(&places, &mut script(answers)).unwrap_err();
            assert_eq!(error.to_string(), format!("lazaret: {GONE}"));
            assert!(!places.provisioned() && !places.admin().exists());
        }
        let (_root, places) = site();
        let mut screen = script(&ANSWERS);
        screen.answers.extend(["correct \"horse\\", "no"]);
        assert!(!run(&places, &mut screen).unwrap());
        assert!(!places.provisioned());
    }
}
