//! Who stands at the console: a banner, a password, and longer waits after wrong ones.

use std::fs;
use std::io;

use zeroize::Zeroizing;

use super::screen::Screen;
use super::wizard;
use crate::cli::CliError;
use crate::control::message::{Request, Response};
use crate::own;
use crate::setup::{self, Places, import, network, places, render, secret};

/// What is shown before anybody has said who they are: nothing that is not known to who can see the machine.
pub(super) fn banner(places: &Places, runtime: &std::path::Path) -> String {
    let host = host(places);
    let mut text = format!("\nLazaret {} on {host}\n", env!("CARGO_PKG_VERSION"));
    for (name, link) in network::links(places) {
        let addresses = match link.addresses.as_slice() {
            [] => "no address".to_owned(),
            some => some.join(" "),
        };
        text.push_str(&format!("  {name} {} {addresses}\n", link.state));
    }
    let answer = crate::control::client::ask(runtime, &Request::Status);
    let state = match (places.provisioned(), answer) {
        (false, _) => "not set up yet",
        (true, Ok(Response::Status(_))) => "the gateway is running",
        (true, Ok(_) | Err(_)) => "THE GATEWAY IS NOT RUNNING",
    };
    text.push_str(&format!("  {state}\n"));
    if let Some((used, all)) = memory(places) {
        text.push_str(&format!("  {used} of {all} MiB of memory used\n"));
    }
    for problem in setup::report(places).unwrap_or_default().problems {
        text.push_str(&format!("  PROBLEM {problem}\n"));
    }
    text
}

/// The name of this machine, as far as it is one: what is shown here can tell a terminal nothing.
fn host(places: &Places) -> String {
    let read = own::read_shown(&places.at(render::HOSTNAME), LONGEST_NAME).unwrap_or_default();
    let read = String::from_utf8_lossy(&read);
    let name: String = (read.trim().chars())
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-'))
        .collect();
    if name.is_empty() {
        return "lazaret".to_owned();
    }
    name
}

/// MiB of memory in use and in all, as the kernel counts them.
fn memory(places: &Places) -> Option<(u64, u64)> {
    let text = fs::read_to_string(places.at("/proc/meminfo")).ok()?;
    let mib = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib / 1024)
    };
    let (all, available) = (mib("MemTotal:")?, mib("MemAvailable:")?);
    Some((all.saturating_sub(available), all))
}

/// Asks for the password until it is right; `false` when nobody answers any more.
pub(super) fn login(places: &Places, screen: &mut dyn Screen) -> Result<bool, CliError> {
    if !places.admin().exists() {
        screen.print("There is no password for this console yet.\n")?;
        set_password(places, screen)?;
        return Ok(true);
    }
    loop {
        let wait = secret::delay(failures(places));
        if !wait.is_zero() {
            screen.print(&format!("wait {} s\n", wait.as_secs()))?;
            std::thread::sleep(wait);
        }
        let Some(password) = screen.secret("password: ")? else {
            return Ok(false);
        };
        if is_right(places, &password)? {
            count(places, 0)?;
            return Ok(true);
        }
        count(places, failures(places).saturating_add(1))?;
        screen.print("That is not the password.\n")?;
    }
}

/// Asks for the old password, then for a new one.
pub(super) fn change(places: &Places, screen: &mut dyn Screen) -> Result<(), CliError> {
    if places.admin().exists() {
        let old = screen
            .secret("Old password of the console: ")?
            .unwrap_or_default();
        if !is_right(places, &old)? {
            screen.print("That is not the password.\n")?;
            return Ok(());
        }
    }
    set_password(places, screen)
}

fn set_password(places: &Places, screen: &mut dyn Screen) -> Result<(), CliError> {
    let password = wizard::password(screen)?;
    let hash = import::hashed(password.as_bytes())?;
    own::replace(&places.admin(), format!("{hash}\n").as_bytes())?;
    screen.print("The password was changed.\n")?;
    Ok(())
}

fn is_right(places: &Places, password: &str) -> io::Result<bool> {
    let hash = Zeroizing::new(own::read(&places.admin(), 1024)?);
    Ok(secret::verify(
        password.as_bytes(),
        &String::from_utf8_lossy(&hash),
    ))
}

/// Wrong passwords in a row, over all consoles; who leaves and comes back waits all the same.
fn failures(places: &Places) -> u32 {
    let text = fs::read_to_string(places.at(FAILURES)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn count(places: &Places, failures: u32) -> io::Result<()> {
    places::replace(&places.at(FAILURES), failures.to_string().as_bytes(), 0o600)
}

/// Longest name of a host, in bytes. //= C7
const LONGEST_NAME: u64 = 64;
const FAILURES: &str = "/run/lazaret-setup/console-failures";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_machine_cannot_speak_to_the_terminal() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), &root.path().join("etc"));
        assert_eq!(host(&places), "lazaret");
        let path = places.at(render::HOSTNAME);
        for (written, shown) in [
            ("nord-1.example\n", "nord-1.example"),
            ("nord\u{1b}[2J\u{1b}]0;x\u{7}\n", "nord2J0x"),
            ("n\u{f6}rd\r\n  PROBLEM", "nrdPROBLEM"),
            ("\n\n", "lazaret"),
        ] {
            places::replace(&path, written.as_bytes(), 0o644).unwrap();
            assert_eq!(host(&places), shown);
        }
        places::replace(&path, "a".repeat(10_000).as_bytes(), 0o644).unwrap();
        assert_eq!(host(&places).len(), 64);
        let other = root.path().join("other");
        places::replace(&other, b"other", 0o644).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert_eq!(host(&places), "lazaret");
    }

    #[test]
    fn memory_is_what_cannot_be_given_away() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), &root.path().join("etc"));
        assert_eq!(memory(&places), None);
        fs::create_dir(root.path().join("proc")).unwrap();
        let text = "MemTotal:        1009216 kB\nMemFree:          100000 kB\nMemAvailable:     860160 kB\n";
        fs::write(root.path().join("proc/meminfo"), text).unwrap();
        assert_eq!(memory(&places), Some((145, 985)));
        fs::write(root.path().join("proc/meminfo"), "MemTotal: much\n").unwrap();
        assert_eq!(memory(&places), None);
    }
}
