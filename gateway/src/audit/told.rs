//! What people are told of a record: the code of what happened.
//!
//! In: a record, also of an older version. Out: its code, if somebody has to know or to do something.
//! A record with a field `code`, and an event whose name is a code, speak for themselves;
//! of the others the reason is recognised by its sentence, whatever stands behind it.

use super::record::Record;
use crate::flow::Standing;
use crate::words::{Access, Alarm, Certificate, Code, Device, Enrolment};

/// The code of what happened.
#[must_use]
pub fn code(record: &Record) -> Option<Code> {
    if let Some(code) = Code::named(record.text("code")) {
        return Some(code);
    }
    let why = record.text("why");
    match record.event.as_str() {
        "decision" if record.text("outcome") == "refused" => Code::named(record.text("reason")),
        "connection-refused" => of_connection(why),
        "session-refused" => of_session(why),
        "enrolment" if record.text("what") == "refused" => of_enrolment(why),
        "device-standing" => of_standing(record.text("after")),
        "source-spoofed" => Some(Device::Address.into()),
        "handshakes-refused" => Some(Device::Unknown.into()),
        "flow-denied" if why == "the device has too many connections" => {
            Some(Access::ConsoleFull.into())
        }
        "flow-denied" => Some(Access::NoRule.into()),
        "console-ended" => of_console(why),
        "deviation" => of_deviation(record.text("what"), record.text("reaction")),
        "break-glass" if record.text("what") == "ended" => Some(Alarm::BreakGlassEnded.into()),
        "break-glass" => Some(Alarm::BreakGlassOpen.into()),
        "drift" => Some(Alarm::TableDrift.into()),
        "registry-trouble" => Some(Alarm::RegistryAway.into()),
        "policy-refused" => Some(Alarm::PolicyRefused.into()),
        "policy-held" => Some(Alarm::PolicyHeld.into()),
        "policy-undone" => Some(Alarm::PolicyUndone.into()),
        "peer-change-refused" => Some(Alarm::PeerChangeRefused.into()),
        "worker-died" => Some(Alarm::WorkerDied.into()),
        "records-lost" => Some(Alarm::RecordsLost.into()),
        event => Code::named(event),
    }
}

fn of_standing(after: &str) -> Option<Code> {
    let device = match Standing::from_word(after)? {
        Standing::Active => return None,
        Standing::Quarantined => Device::Quarantined,
        Standing::Pending => Device::Pending,
        Standing::Expired => Device::Expired,
        Standing::Revoked => Device::Revoked,
    };
    Some(device.into())
}

/// Why a session on a console ended.
fn of_console(why: &str) -> Option<Code> {
    let access = match why {
        "hours" => Access::ConsoleHours,
        "idle" => Access::ConsoleIdle,
        "total" => Access::ConsoleTotal,
        "break-glass" => Access::ConsoleEmergency,
        _ => return of_standing(why),
    };
    Some(access.into())
}

/// What a device never did before.
fn of_deviation(what: &str, reaction: &str) -> Option<Code> {
    let alarm = match what {
        _ if reaction == "quarantine" => Alarm::BehaviourQuarantined,
        "service" => Alarm::BehaviourService,
        "message" | "sop-class" | "variety" => Alarm::BehaviourKind,
        "rate" => Alarm::BehaviourRate,
        "hour" => Alarm::BehaviourHour,
        _ => return None,
    };
    Some(alarm.into())
}

/// Why an intercepted connection was closed at once.
pub(crate) fn of_connection(why: &str) -> Option<Code> {
    if let Some(standing) = why.strip_prefix("the device is ") {
        return of_standing(standing);
    }
    let access = match why {
        "no rule allows it now" => Access::NoRule,
        "the destination is not an inspected service" => Access::ServiceUnknown,
        "the connection was not steered here" => Access::NotSteered,
        "the gateway takes nothing new before it restarts" => Access::GatewayDraining,
        "the source is not the address of a device" => return Some(Device::Unknown.into()),
        _ if why.starts_with("the gateway has ") || why.ends_with("to devices already") => {
            Access::GatewayFull
        }
        _ if why.contains(" connections ") && why.ends_with(" already") => {
            Access::TooManyConnections
        }
        _ => return None,
    };
    Some(access.into())
}

/// Why somebody was not let in by a certificate.
pub(crate) fn of_session(why: &str) -> Option<Code> {
    let certificate = match why {
        "there was no certificate" => Certificate::Missing,
        "the certificate is expired or not valid yet" => Certificate::Expired,
        "the certificate is not of the gateway's authority" => Certificate::Authority,
        "the certificate is for another use" => Certificate::Use,
        "the certificate is revoked" => Certificate::Revoked,
        "the certificate is malformed"
        | "the certificate is not one of a device"
        | "a signature of the certificate or the handshake is wrong" => Certificate::Refused,
        "no key exchange that both ends offer" => Certificate::HandshakeKeys,
        "too many handshakes" | "too many handshakes at once" | "the device comes too often" => {
            Certificate::HandshakeFlood
        }
        "too many connections" => return Some(Access::GatewayFull.into()),
        "the device is quarantined" => return Some(Device::Quarantined.into()),
        "the device is revoked" => return Some(Device::Revoked.into()),
        "the time of the device is over" => return Some(Device::Expired.into()),
        "the device is pending" | "the device is not approved yet" => {
            return Some(Device::Pending.into());
        }
        _ if why.contains("expired") => Certificate::Expired,
        _ => Certificate::HandshakeFailed,
    };
    Some(certificate.into())
}

/// Why a device was not enrolled.
pub(crate) fn of_enrolment(why: &str) -> Option<Code> {
    let enrolment = match why {
        "there is no such token" | "what it brought is not a token" => Enrolment::TokenUnknown,
        "the token came late" => Enrolment::TokenLate,
        "the token was used before" => Enrolment::TokenUsed,
        "the token is revoked" => Enrolment::TokenRevoked,
        "the token is for another serial number" => Enrolment::TokenSerial,
        "the token is for another name" => Enrolment::TokenName,
        "it brought too many wrong tokens and has to wait" => Enrolment::TooOften,
        _ if [
            "cannot renew",
            "there is no device",
            "certificates that hold",
        ]
        .iter()
        .any(|part| why.contains(part)) =>
        {
            Enrolment::Forbidden
        }
        _ if why.starts_with("there is a device") || why.contains("another device") => {
            Enrolment::Taken
        }
        _ => Enrolment::Request,
    };
    Some(enrolment.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<&'static str> {
        let record = Record::read(json.as_bytes()).unwrap();
        code(&record).map(Code::as_str)
    }

    /// A record with these fields.
    fn with(event: &str, fields: &str) -> String {
        let own = r#""v":1,"seq":1,"time":"t","gateway":"g","prev":"","hash":"""#;
        format!("{{{own},\"event\":\"{event}\",{fields}}}")
    }

    fn check(cases: &[(&str, &str, Option<&str>)]) {
        for (event, fields, expected) in cases {
            assert_eq!(of(&with(event, fields)), *expected, "{event} {fields}");
        }
    }

    #[test]
    fn records_have_their_code() {
        check(&[
            (
                "decision",
                r#""outcome":"refused","reason":"identity""#,
                Some("identity"),
            ),
            ("decision", r#""outcome":"forwarded""#, None),
            (
                "connection-refused",
                r#""why":"no rule allows it now""#,
                Some("no-rule"),
            ),
            (
                "connection-refused",
                r#""why":"the device is quarantined""#,
                Some("device-quarantined"),
            ),
            (
                "connection-refused",
                r#""why":"the gateway has 4096 connections already""#,
                Some("gateway-full"),
            ),
            (
                "connection-refused",
                r#""why":"the device has 2 connections already""#,
                Some("too-many-connections"),
            ),
            (
                "session-refused",
                r#""why":"the certificate is expired: renew it""#,
                Some("certificate-expired"),
            ),
            (
                "enrolment",
                r#""what":"refused","why":"the token came late""#,
                Some("token-late"),
            ),
            ("enrolment", r#""what":"enrolled","why":"role ecg""#, None),
            (
                "device-standing",
                r#""after":"revoked""#,
                Some("device-revoked"),
            ),
            ("device-standing", r#""after":"active""#, None),
            ("drift", r#""what":"x""#, Some("table-drift")),
            (
                "alarm",
                r#""code":"behaviour-rate""#,
                Some("behaviour-rate"),
            ),
            ("break-glass-open", r#""why":"x""#, Some("break-glass-open")),
            ("listening", r#""address":"x""#, None),
        ]);
    }

    #[test]
    fn ends_and_alarms_have_their_code() {
        check(&[
            ("console-ended", r#""why":"idle""#, Some("console-idle")),
            (
                "console-ended",
                r#""why":"revoked""#,
                Some("device-revoked"),
            ),
            (
                "console-ended",
                r#""why":"break-glass""#,
                Some("console-emergency"),
            ),
            ("console-ended", r#""why":"closed""#, None),
            (
                "deviation",
                r#""what":"rate","reaction":"alert""#,
                Some("behaviour-rate"),
            ),
            (
                "deviation",
                r#""what":"rate","reaction":"quarantine""#,
                Some("behaviour-quarantined"),
            ),
            ("break-glass", r#""what":"began""#, Some("break-glass-open")),
            (
                "break-glass",
                r#""what":"ended""#,
                Some("break-glass-ended"),
            ),
            (
                "flow-denied",
                r#""why":"the device has too many connections""#,
                Some("console-full"),
            ),
            (
                "session-refused",
                r#""why":"the device is not approved yet""#,
                Some("device-pending"),
            ),
        ]);
    }
}
