//! `lazaret completion SHELL`: words, options, and the names of devices as they are when the key is pressed.

use std::collections::BTreeSet;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use lazaret_config::Config;

use super::context::Context;
use super::{Cli, CliError, Exit};
use crate::flow::Clock;
use crate::registry;

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(super) struct Completion {
    /// For which shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lazaret", &mut script);
        let script = String::from_utf8_lossy(&script);
        context.print(&with_names(self.shell, &script))?;
        Ok(Exit::Ok)
    }
}

/// The script, which also asks for names where the shell lets it.
fn with_names(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}\n{BASH}"),
        Shell::Fish => format!("{script}\n{FISH}"),
        Shell::Zsh => {
            let asked = script
                .replace(
                    ":device -- Its name:_default",
                    ":device -- Its name:_lazaret_names",
                )
                .replace(
                    "::device -- The device:_default",
                    "::device -- The device:_lazaret_names",
                );
            asked.replacen("\n_lazaret()", &format!("\n{ZSH}\n_lazaret()"), 1)
        }
        // Of these, and of those to come, the words alone.
        Shell::Elvish | Shell::PowerShell | _ => script.to_owned(),
    }
}

/// `lazaret names`: one device a line, of the files and of the registry. What cannot be read has no names.
pub(super) fn names(context: &mut Context<'_>) -> Result<Exit, CliError> {
    for name in devices(&context.config()?) {
        context.print(&format!("{name}\n"))?;
    }
    Ok(Exit::Ok)
}

/// All devices that there are, in the files or not.
pub(super) fn devices(config: &Config) -> BTreeSet<String> {
    let now = crate::daemon::SystemClock.wall();
    let enrolled = registry::kept(&config.gateway.state_dir, now).unwrap_or_default();
    let enrolled = enrolled.iter().map(|(name, _)| name.to_string());
    let files = config.devices.keys().map(ToString::to_string);
    files.chain(enrolled).collect()
}

const BASH: &str = r#"_lazaret_with_names() {
    _lazaret "$@"
    local word="${COMP_WORDS[COMP_CWORD]}"
    case " ${COMP_WORDS[*]:1:COMP_CWORD-1} " in
        *" device "* | *" explain "* | *" cert "*)
            [[ $word == -* ]] ||
                COMPREPLY+=($(compgen -W "$(lazaret names 2>/dev/null)" -- "$word"))
            ;;
    esac
}
complete -F _lazaret_with_names -o bashdefault -o default lazaret
"#;
const FISH: &str = "complete -c lazaret -n '__fish_seen_subcommand_from device explain cert' -f -a '(lazaret names 2>/dev/null)'\n";
const ZSH: &str = r#"_lazaret_names() {
    local -a names
    names=("${(@f)$(lazaret names 2>/dev/null)}")
    compadd -a names
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_that_can_asks_for_names() {
        let script = |shell| {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lazaret", &mut script);
            with_names(shell, &String::from_utf8_lossy(&script))
        };
        for (shell, asks) in [(Shell::Bash, 1), (Shell::Fish, 1), (Shell::Zsh, 1)] {
            let asked = script(shell).matches("lazaret names 2>/dev/null").count();
            assert_eq!(asked, asks, "{shell}");
        }
        let zsh = script(Shell::Zsh);
        assert!(
            zsh.contains("\n_lazaret_names() {") && !zsh.contains(":device -- Its name:_default")
        );
        assert!(zsh.matches(":_lazaret_names'").count() > 5, "{zsh}");
        assert!(!script(Shell::PowerShell).contains("lazaret names"));
    }
}
