//! Tokens: made, shown without the token, taken back.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use crate::cli::apply::done;
use crate::cli::context::{Context, strange};
use crate::cli::device::Why;
use crate::cli::table::Table;
use crate::cli::units::{parse_long_period, period};
use crate::cli::{CliError, Exit};
use crate::control::message::{
    EnrolRequest, EnrolResponse, NewToken, Request, Response, TokenStatus,
};
use crate::enrol::token::Token as Text;
use crate::flow::DeviceName;

/// Subcommands of `enroll token`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Make a token that enrols one device; it is shown once
    Create(Box<Create>),
    /// The tokens, without what would let somebody use them
    List,
    /// Take back a token that was not used yet
    Revoke {
        /// The id of the token
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

/// A token to be made.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// The role of the device; may be given several times
    #[arg(long = "role", value_name = "NAME", required = true)]
    roles: Vec<String>,
    /// How long the token is good (90s, 15m, 24h, 7d)
    #[arg(long, value_name = "TIME", value_parser = parse_long_period, default_value = "15m")]
    ttl: Duration,
    /// The name of the device; without it the device chooses a free one
    #[arg(long, value_name = "NAME")]
    device: Option<DeviceName>,
    /// The serial number on its label, which it has to say too
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
    /// A patient of its own, as `lazaret patient hash` says; may be given several times
    #[arg(long = "patient", value_name = "HASH")]
    patients: Vec<String>,
    /// MSH-3 and MSH-4 that are its own, as in ECG^CARDIO
    #[arg(long, value_name = "SENDER")]
    hl7_sender: Option<String>,
    /// The AE title that is its own
    #[arg(long, value_name = "TITLE")]
    ae_title: Option<String>,
    /// Let the device in at once; without it the device waits for `lazaret device approve`
    #[arg(long)]
    approve: bool,
    #[command(flatten)]
    why: Why,
}

impl Token {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::Create(create) => create.run(context),
            Self::List => list(context),
            Self::Revoke { id, why } => {
                let why = why.why;
                let request = Request::Enrol(EnrolRequest::RevokeToken { id, why });
                let response = context.ask(&request)?;
                done(context, &response)
            }
        }
    }
}

impl Create {
    fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let new = NewToken {
            roles: self.roles,
            seconds: self.ttl.as_secs(),
            device: self.device,
            serial: self.serial,
            patients: self.patients,
            hl7_sender: self.hl7_sender,
            ae_title: self.ae_title,
            approve: self.approve,
            why: self.why.why,
        };
        let response = context.ask(&Request::Enrol(EnrolRequest::CreateToken(new)))?;
        let Response::Enrol(EnrolResponse::Token {
            id,
            token,
            expires,
            url,
        }) = &response
        else {
            return Err(strange());
        };
        if context.json {
            context.print_json(&response)?;
            return Ok(Exit::Ok);
        }
        let mut text = format!("{token}\n\ntoken {id}, good once and until {expires}\n");
        text.push_str(&used_at(token, url.as_deref()));
        context.print(&text)?;
        Ok(Exit::Ok)
    }
}

/// Where the token is used, or what is missing for that.
fn used_at(token: &str, url: Option<&str>) -> String {
    let knows = |token: Text| token.knows(&[]).is_some();
    match url {
        None => "nobody can use it before `listen` of [enrol] says where devices come\n".to_owned(),
        Some(url) if token.parse().is_ok_and(knows) => {
            format!("on the machine: lazaret enroll request {url} TOKEN --out DIR\n")
        }
        Some(_) => "nobody can use it while there is no certification authority: `lazaret ca init`, then make another, which says how to know the gateway\n".to_owned(),
    }
}

fn list(context: &mut Context<'_>) -> Result<Exit, CliError> {
    let response = context.ask(&Request::Enrol(EnrolRequest::Tokens))?;
    let Response::Enrol(EnrolResponse::Tokens { now, tokens }) = &response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(&response)?;
    } else {
        context.print(&render(tokens, *now))?;
    }
    Ok(Exit::Ok)
}

fn render(tokens: &[TokenStatus], now: Timestamp) -> String {
    let mut table = Table::new(&[
        "TOKEN", "STATE", "ROLES", "FOR", "ENDS", "USED BY", "MADE BY", "WHY",
    ]);
    for token in tokens {
        let left = token.expires.duration_since(now).as_secs();
        let ends = match u64::try_from(left) {
            Ok(left) if left > 0 => format!("in {}", period(left)),
            Ok(_) | Err(_) => "over".to_owned(),
        };
        let device = token.device.as_ref().map(ToString::to_string);
        let serial = token
            .serial
            .as_ref()
            .map(|serial| format!("serial {serial}"));
        let bound: Vec<String> = device.into_iter().chain(serial).collect();
        table.row([
            token.id.clone(),
            token.state.clone(),
            token.roles.join(","),
            bound.join(", "),
            ends,
            token
                .used_by
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            token.created_by.clone(),
            token.why.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_to_use_a_token_is_said() {
        let of = |authority| Text::new([7; 20], authority).to_string();
        let (before, after) = (of(None), of(Some(b"authority")));
        let url = "https://gw.example.org:8443";
        for (token, url, told) in [
            (&before, None, "`listen` of [enrol]"),
            (&after, None, "`listen` of [enrol]"),
            (&before, Some(url), "no certification authority"),
            (&after, Some(url), "lazaret enroll request https://gw"),
        ] {
            let text = used_at(token, url);
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn tokens_are_shown_without_the_token() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let open = TokenStatus {
            id: "0123456789ab".to_owned(),
            state: "open".to_owned(),
            roles: vec!["ecg-home".to_owned()],
            device: None,
            serial: Some("SN-7".to_owned()),
            patients: 1,
            approve: true,
            why: "trial".to_owned(),
            created: at("2026-11-22T12:00:00Z"),
            created_by: "marie".to_owned(),
            expires: at("2026-11-22T12:15:00Z"),
            used_by: None,
            used_at: None,
        };
        let used = TokenStatus {
            state: "used".to_owned(),
            device: Some("ecg-1".parse().unwrap()),
            serial: None,
            expires: at("2026-11-22T11:15:00Z"),
            used_by: Some("ecg-1".parse().unwrap()),
            used_at: Some(at("2026-11-22T11:10:00Z")),
            ..open.clone()
        };
        let response = Response::Enrol(EnrolResponse::Tokens {
            now: at("2026-11-22T12:00:30Z"),
            tokens: vec![open.clone()],
        });
        let text = render(&[open, used], at("2026-11-22T12:00:30Z"));
        let json = serde_json::to_string_pretty(&response).unwrap();
        insta::assert_snapshot!(format!("{text}\n{json}"));
    }
}
