//! What the word under the cursor may become. Pure.

use clap::Command;

use super::words::{ELSEWHERE, WORDS};

/// Names that stand in the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Devices.
    pub(super) devices: Vec<String>,
    /// Services.
    pub(super) services: Vec<String>,
}

/// The words that may stand where `partial` begins, after the words before it; in order, each once.
pub(super) fn complete(
    root: &Command,
    names: &Names,
    before: &[&str],
    partial: &str,
) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut command = root;
    let mut depth = 0;
    for word in before {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
            depth += 1;
        }
    }
    if before.is_empty() {
        let own = WORDS.iter().filter_map(|(word, _)| word.split(' ').next());
        all.extend(own.map(str::to_owned));
    }
    if before == ["config"] {
        all.extend(["show", "import", "export"].map(str::to_owned));
    }
    let known = |command: &&Command| {
        let elsewhere = depth == 0 && ELSEWHERE.contains(&command.get_name());
        !elsewhere && !command.is_hide_set()
    };
    if depth > 0 || before.is_empty() || before == ["help"] {
        all.extend(
            command
                .get_subcommands()
                .filter(known)
                .map(|c| c.get_name().to_owned()),
        );
    }
    if partial.starts_with('-') {
        let options = command.get_arguments().chain(root.get_arguments());
        let long = options.filter(|option| !option.is_hide_set());
        all.extend(long.filter_map(|option| option.get_long().map(|long| format!("--{long}"))));
    } else if depth > 0 && !command.has_subcommands() {
        all.extend(names.devices.iter().cloned());
        all.extend(names.devices.iter().map(|name| format!("device:{name}")));
        all.extend(names.services.iter().cloned());
    }
    all.retain(|word| word.starts_with(partial));
    all.sort();
    all.dedup();
    all.truncate(MOST);
    all
}

/// More than this nobody reads, least of all over a serial line. //= C7
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn completes_commands_options_and_names() {
        let mut root = crate::cli::Cli::command();
        root.build();
        let names = Names {
            devices: vec!["ecg-1".to_owned(), "us-1".to_owned()],
            services: vec!["his".to_owned()],
        };
        let ask = |before: &[&str], partial: &str| complete(&root, &names, before, partial);
        assert_eq!(ask(&[], "stat"), ["status"]);
        assert_eq!(ask(&[], "re"), ["reboot", "registry"]);
        assert!(
            ask(&[], "ru").is_empty()
                && ask(&[], "worker").is_empty()
                && ask(&[], "console").is_empty()
        );
        assert_eq!(ask(&["config"], ""), ["export", "import", "show"]);
        assert_eq!(ask(&["help"], "stat"), ["status"]);
        assert_eq!(ask(&["device"], "quar"), ["quarantine"]);
        assert_eq!(ask(&["device", "quarantine"], "e"), ["ecg-1"]);
        assert_eq!(
            ask(&["explain"], "device:"),
            ["device:ecg-1", "device:us-1"]
        );
        assert_eq!(ask(&["explain"], "h"), ["his"]);
        assert!(ask(&["status"], "--js").contains(&"--json".to_owned()));
        assert!(ask(&["no", "such"], "x").is_empty());
    }
}
