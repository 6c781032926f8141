//! Who may read secrets, who may change what decides, and who may log in.

use super::boot::not_applicable;
use super::facts::{Facts, Form, Owned, Role, Seen};
use super::report::{Item, Verdict};

pub(super) fn judge(facts: &Facts, items: &mut Vec<Item>) {
    items.push(owned(facts, Role::Secret));
    items.push(owned(facts, Role::Deciding));
    items.push(console(facts));
    items.push(root_accounts(facts));
    items.push(logins(facts));
}

fn owned(facts: &Facts, role: Role) -> Item {
    let (id, right) = match role {
        Role::Secret => (
            "files.secrets",
            "keys, hashes and journal are root's or the gateway's, and for nobody else to read",
        ),
        Role::Deciding => (
            "files.configuration",
            "configuration is root's, and for nobody else to write",
        ),
    };
    let files = match facts.owned.as_ref() {
        Seen::Known(files) => files.iter().filter(|file| file.role == role),
        Seen::Absent => {
            let found = format!("there is nothing in {}", facts.config_dir);
            return Item::new(id, Verdict::Unknown, &found, right);
        }
        Seen::Unreadable(why) => return Item::new(id, Verdict::Unknown, &why, right),
    };
    let account = account(facts);
    let wrong = |file: &&Owned| !is_right(file, account);
    let exposed: Vec<String> = files
        .clone()
        .filter(wrong)
        .take(SHOWN)
        .map(|file| {
            let Owned {
                path,
                mode,
                user,
                group,
                ..
            } = file;
            format!("{path} (mode {mode:04o}, user {user}, group {group})")
        })
        .collect();
    let (verdict, found) = match (files.count(), exposed.as_slice()) {
        (0, _) => (Verdict::Unknown, "none found".to_owned()),
        (count, []) => (Verdict::Ok, format!("{count}, all as they should be")),
        (_, exposed) => (Verdict::Bad, exposed.join("; ")),
    };
    Item::new(id, verdict, &found, right)
}

/// The configuration and its keys are root's, for the gateway's group to read; its state and the journal are its own.
fn is_right(file: &Owned, account: Option<(u32, u32)>) -> bool {
    let others = file.mode & 0o007 != 0;
    let group_reads = file.mode & 0o040 != 0;
    let group_writes = file.mode & 0o020 != 0;
    let roots = file.user == 0;
    let gateways = account.is_some_and(|(user, _)| file.user == user);
    let group = account.is_some_and(|(_, group)| file.group == group);
    match file.role {
        Role::Secret if roots => !others && !group_writes && (!group_reads || group),
        Role::Secret => gateways && file.mode & 0o077 == 0,
        Role::Deciding => roots && file.mode & 0o022 == 0,
    }
}

/// User and group of the gateway, if it has an account here.
fn account(facts: &Facts) -> Option<(u32, u32)> {
    let Seen::Known(text) = facts.text(PASSWD) else {
        return None;
    };
    let line = text
        .lines()
        .find(|line| column(line, 0) == Some("lazaret"))?;
    let number = |at| column(line, at)?.parse().ok();
    Some((number(2)?, number(3)?))
}

fn console(facts: &Facts) -> Item {
    let (id, right) = (
        "accounts.console",
        "the console asks for a password (Argon2id)",
    );
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.text(ADMIN) {
        Seen::Known(hash) if hash.starts_with("$argon2id$") => {
            (Verdict::Ok, "a password is set".to_owned())
        }
        Seen::Known(_) => (Verdict::Bad, "the file is not an Argon2id hash".to_owned()),
        Seen::Absent => (Verdict::Bad, "no password is set".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

fn root_accounts(facts: &Facts) -> Item {
    let right = "no account but root has user 0";
    let (verdict, found) = match facts.text(PASSWD) {
        Seen::Known(text) => {
            let zero =
                |line: &&str| column(line, 2) == Some("0") && column(line, 0) != Some("root");
            let others: Vec<&str> = text
                .lines()
                .filter(zero)
                .filter_map(|line| column(line, 0))
                .collect();
            match others.as_slice() {
                [] => (Verdict::Ok, "only root".to_owned()),
                _ => (Verdict::Bad, others.join(", ")),
            }
        }
        Seen::Absent => (Verdict::Unknown, "there is no /etc/passwd".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new("accounts.root", verdict, &found, right)
}

/// The appliance's own login is no account of the system: every one of those is locked.
fn logins(facts: &Facts) -> Item {
    let (id, right) = ("accounts.locked", "no account of the system has a password");
    if facts.form == Form::Server {
        return not_applicable(id, right);
    }
    let (verdict, found) = match facts.text(SHADOW) {
        Seen::Known(text) => {
            let locked = |hash: &str| hash.starts_with(['!', '*']);
            let open = |line: &&str| !column(line, 1).is_some_and(locked);
            let names: Vec<&str> = text
                .lines()
                .filter(open)
                .filter_map(|line| column(line, 0))
                .collect();
            match names.as_slice() {
                [] => (Verdict::Ok, "all are locked".to_owned()),
                _ => (Verdict::Bad, format!("not locked: {}", names.join(", "))),
            }
        }
        Seen::Absent => (Verdict::Unknown, "there is no /etc/shadow".to_owned()),
        Seen::Unreadable(why) => (Verdict::Unknown, why),
    };
    Item::new(id, verdict, &found, right)
}

fn column(line: &str, number: usize) -> Option<&str> {
    line.split(':').nth(number)
}

const ADMIN: &str = "/var/lib/lazaret-appliance/admin";
const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
pub(super) const WANTED: [&str; 3] = [ADMIN, PASSWD, SHADOW];
/// So many exposed files are named.
const SHOWN: usize = 8;
