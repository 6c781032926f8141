//! What a line at the prompt means. Pure.

use clap::CommandFactory;

use crate::cli::Cli;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// An empty line.
    Nothing,
    /// What there is to say.
    Help,
    /// Addresses, routes, links.
    Network,
    /// Change the password of the console.
    Password,
    /// Print the configuration.
    ConfigShow,
    /// Import the stick.
    ConfigImport,
    /// Write the configuration onto the stick.
    ConfigExport,
    /// The log of the system, or of one unit.
    Log(Option<String>),
    /// Restart the machine.
    Reboot,
    /// Switch it off.
    PowerOff,
    /// Erase everything.
    FactoryReset,
    /// Write what support needs onto the stick.
    SupportBundle,
    /// Leave.
    Exit,
    /// A subcommand of `lazaret`.
    Command(Vec<String>),
    /// Something else, and what to say of it.
    Wrong(String),
}

/// The words that are not subcommands, with what they do.
pub(super) const WORDS: [(&str, &str); 12] = [
    ("help", "this list; COMMAND --help says more of a command"),
    ("network", "addresses, routes and links"),
    ("password", "change the password of the console"),
    ("config show", "print the configuration"),
    ("config import", "put the stick labelled LAZARET into force"),
    (
        "config export",
        "write the configuration without secrets onto the stick",
    ),
    ("log [UNIT]", "the log of the system, or of one unit"),
    (
        "support-bundle",
        "write what support needs onto the stick; no patient data",
    ),
    ("reboot", "restart the machine"),
    ("poweroff", "switch the machine off"),
    ("factory-reset", "erase all data and restart"),
    ("exit", "leave the console"),
];

/// Subcommands that have no place here: they never end, or are the console itself.
pub(super) const ELSEWHERE: [&str; 5] = ["run", "worker", "connect", "console", "completion"];

/// Reads a line.
pub(super) fn read(line: &str) -> Word {
    let words = match split(line) {
        Ok(words) => words,
        Err(why) => return Word::Wrong(why.to_owned()),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Word::Nothing,
        ["help" | "?"] => Word::Help,
        ["help", command @ ..] => {
            let command = command.iter().map(|word| (*word).to_owned());
            Word::Command(command.chain(["--help".to_owned()]).collect())
        }
        ["network"] => Word::Network,
        ["password"] => Word::Password,
        ["config", "show"] => Word::ConfigShow,
        ["config", "import"] => Word::ConfigImport,
        ["config", "export"] => Word::ConfigExport,
        ["config", ..] => Word::Wrong("config show, config import or config export".to_owned()),
        ["log"] => Word::Log(None),
        ["log", unit] if is_unit(unit) => Word::Log(Some((*unit).to_owned())),
        ["log", ..] => Word::Wrong("log, or log UNIT such as `log lazaret.service`".to_owned()),
        ["reboot"] => Word::Reboot,
        ["poweroff"] => Word::PowerOff,
        ["factory-reset"] => Word::FactoryReset,
        ["support-bundle"] => Word::SupportBundle,
        ["exit" | "logout" | "quit"] => Word::Exit,
        ["lazaret", rest @ ..] => command(rest),
        [first, ..] if takes_nothing(first) => Word::Wrong(format!("`{first}` stands alone")),
        all => command(all),
    }
}

fn command(words: &[&str]) -> Word {
    match resolved(words) {
        Some(name) if ELSEWHERE.contains(&name.as_str()) => {
            Word::Wrong(format!("`{name}` is not for the console"))
        }
        Some(_) | None => Word::Command(words.iter().map(|word| (*word).to_owned()).collect()),
    }
}

/// The subcommand that a line means, by the parser that will read it: options may stand before, with values of their own.
fn resolved(words: &[&str]) -> Option<String> {
    let line = || std::iter::once("lazaret").chain(words.iter().copied());
    let strict = Cli::command().try_get_matches_from(line());
    // What is no right line is named all the same, if it can be.
    let matches = strict.or_else(|_| {
        Cli::command()
            .ignore_errors(true)
            .try_get_matches_from(line())
    });
    matches.ok()?.subcommand_name().map(str::to_owned)
}

fn takes_nothing(word: &str) -> bool {
    let alone = [
        "network",
        "password",
        "support-bundle",
        "reboot",
        "poweroff",
        "factory-reset",
        "exit",
        "logout",
        "quit",
    ];
    alone.contains(&word)
}

/// The name of a systemd unit, which cannot be taken for an option.
fn is_unit(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@' | b':');
    (1..=128).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-')
}

/// Words between blanks; quotes keep blanks, and nothing is expanded.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (Some(_) | None, c) if c.is_control() => {
                return Err("the line has a control character");
            }
            (Some(_) | None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is open");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn splits_lines_and_expands_nothing() {
        for (line, words) in [
            ("", vec![]),
            ("  a  b\t", vec!["a", "b"]),
            ("a \"b c\" 'd \"e'", vec!["a", "b c", "d \"e"]),
            ("a\"b\"c ''", vec!["abc", ""]),
            (
                "$(reboot) `x` ; | > ~ * \\",
                vec!["$(reboot)", "`x`", ";", "|", ">", "~", "*", "\\"],
            ),
        ] {
            assert_eq!(split(line), Ok(list(&words)), "{line}");
        }
        assert!(split("a 'b").is_err() && split("a\u{1b}[2J").is_err());
    }

    /// Wherever it stands, and whatever stands before it: what would run is what is looked at.
    #[test]
    fn what_is_not_for_the_console_is_found_everywhere() {
        for (name, rest) in [
            ("run", ""),
            ("console", " --login"),
            ("completion", " bash"),
            ("worker", " --fd 3"),
            ("worker", ""),
        ] {
            for line in [
                "NAME REST",
                "--json NAME REST",
                "--config /x NAME REST",
                "--config=/x NAME REST",
                "--config=/x --json NAME REST",
                "--config status NAME REST",
                "--config NAME NAME REST",
                "NAME REST --json",
                "NAME --config status REST",
                "NAME REST status",
                "NAME --no-such-option",
                "lazaret --config /x NAME REST",
                "\"NAME\" REST",
            ] {
                let line = line.replace("NAME", name).replace(" REST", rest);
                let told = format!("`{name}` is not for the console");
                assert_eq!(read(&line), Word::Wrong(told), "{line}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_it_is_run() {
        for line in [
            "status",
            "--config run status",
            "--config=run status",
            "--json status",
            "explain run console",
            "device show worker",
            "--help",
            "-h run",
            "-- run",
        ] {
            let Word::Command(words) = read(line) else {
                panic!("{line}");
            };
            let all = std::iter::once("lazaret").chain(words.iter().map(String::as_str));
            let runs = Cli::command().try_get_matches_from(all);
            let name = runs
                .ok()
                .and_then(|runs| runs.subcommand_name().map(str::to_owned));
            assert!(
                name.is_none_or(|name| !ELSEWHERE.contains(&name.as_str())),
                "{line}"
            );
        }
    }

    #[test]
    fn knows_its_words() {
        for (line, word) in [
            ("", Word::Nothing),
            ("?", Word::Help),
            ("help status", Word::Command(list(&["status", "--help"]))),
            ("log", Word::Log(None)),
            (
                "log lazaret.service",
                Word::Log(Some("lazaret.service".to_owned())),
            ),
            ("status --json", Word::Command(list(&["status", "--json"]))),
            (
                "lazaret device list",
                Word::Command(list(&["device", "list"])),
            ),
            ("logout", Word::Exit),
            ("config show", Word::ConfigShow),
        ] {
            assert_eq!(read(line), word, "{line}");
        }
        for line in [
            "run",
            "worker x",
            "--json run",
            "lazaret console",
            "log -f",
            "log a b",
            "config",
            "reboot now",
            "a 'b",
        ] {
            assert!(matches!(read(line), Word::Wrong(_)), "{line}");
        }
    }
}
