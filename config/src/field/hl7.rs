//! Words of HL7 v2: message types, versions, senders, character sets, patients, devices.

use crate::problem::Fault;
use crate::section::Text;
use crate::suggest::{closest, did_you_mean};

/// A message type of a rule, `ORU^R01` or `ORU^*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageTypes(pub(crate) String);

/// A value of MSH-12.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) String);

/// MSH-3 and MSH-4, written `"ECG^CARDIO"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender(pub(crate) String, pub(crate) String);

/// A name of HL7 table 0211.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charset(pub(crate) String);

/// A name of HL7 table 0211 for a set whose characters can hold a delimiter, or that is switched to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WideCharset(pub(crate) String);

/// `hmac:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patient(pub(crate) String);

/// An identifier of a device, such as an EUI-64; with `^` an entity identifier (EI) as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceId(pub(crate) String);

/// Checks one message type, `ORU^R01`; with `wildcard` also `ORU^*`.
pub(crate) fn message_type(text: &str, wildcard: bool) -> Result<(), Fault> {
    let Some((code, trigger)) = text.split_once('^') else {
        let all = (wildcard && is_code(text)).then(|| format!("did you mean `{text}^*`?"));
        return Err(Fault::new("not a message type like \"ORU^R01\"").maybe(all));
    };
    let any = trigger == "*";
    let good = is_trigger(trigger) || (wildcard && any);
    let fault = match (is_code(code), good) {
        (true, true) => return Ok(()),
        (false, _) => Fault::new("unknown message type")
            .help("message codes are those of HL7 table 0076, and your own beginning with Z"),
        (true, false) if any => {
            return Err(Fault::new(
                "one message is asked for here, not all of a type",
            ));
        }
        (true, false) => Fault::new("unknown trigger event")
            .help("a letter and two digits, such as `R01`, or `Z` and two characters of your own"),
    };
    let near = if is_code(code) {
        Some(code)
    } else {
        closest(code, COMMON.iter().chain(CODES).copied())
    };
    let trigger = repaired(trigger);
    let sound = is_trigger(&trigger) || (wildcard && any);
    Err(fault.maybe(
        near.filter(|_| sound)
            .map(|near| format!("did you mean `{near}^{trigger}`?")),
    ))
}

/// A trigger event with its usual typing errors undone: small letters, letters for digits.
fn repaired(trigger: &str) -> String {
    let digit = |(at, c): (usize, char)| match c.to_ascii_uppercase() {
        'O' if at > 0 => '0',
        'I' | 'L' if at > 0 => '1',
        upper => upper,
    };
    trigger.char_indices().map(digit).collect()
}

impl Text for MessageTypes {
    const WHAT: &'static str = "a message type like \"ORU^R01\" or \"ORU^*\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        message_type(text, true)?;
        Ok(Self(text.to_owned()))
    }
}

impl Text for Version {
    const WHAT: &'static str = "a version of HL7 like \"2.5.1\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if VERSIONS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new("not a version of HL7 v2")
            .help(crate::suggest::one_of(VERSIONS.iter().copied())))
    }
}

impl Text for Sender {
    const WHAT: &'static str = "MSH-3 and MSH-4 like \"ECG^CARDIO\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let (application, facility) = text.split_once('^').unwrap_or((text, ""));
        let good = |part: &str| {
            part.len() <= 227 && !part.contains(['^', '|']) && !part.chars().any(char::is_control)
        };
        if application.is_empty() || !good(application) || !good(facility) {
            return Err(Fault::new("not a sender").help(
                "write MSH-3, then `^`, then MSH-4 (which may be empty), such as \"ECG^CARDIO\"",
            ));
        }
        Ok(Self(application.to_owned(), facility.to_owned()))
    }
}

impl Text for Charset {
    const WHAT: &'static str = "a character set of HL7 table 0211 like \"8859/1\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if CHARSETS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        if matches!(text, "UNICODE" | "UNICODE UTF-16" | "UNICODE UTF-32") {
            return Err(
                Fault::new("its code units hold bytes that MLLP needs for framing")
                    .help("did you mean `UNICODE UTF-8`?"),
            );
        }
        let meant = match text.to_ascii_uppercase().replace(['-', '_'], " ").as_str() {
            "UTF 8" | "UTF8" => Some("did you mean `UNICODE UTF-8`?".to_owned()),
            "LATIN1" | "LATIN 1" | "ISO 8859 1" => Some("did you mean `8859/1`?".to_owned()),
            _ => did_you_mean(text, CHARSETS.iter().copied()),
        };
        Err(Fault::new("not a character set of HL7 table 0211")
            .help(crate::suggest::one_of(CHARSETS.iter().copied()))
            .maybe(meant))
    }
}

impl Text for WideCharset {
    const WHAT: &'static str = "a character set of HL7 table 0211 like \"GB 18030-2000\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        if WIDE_CHARSETS.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        match Charset::parse(text) {
            Ok(_) => Err(Fault::new("needs no permission")
                .help("no character of it can hold a delimiter, so it is always carried")),
            Err(fault) if text.starts_with("UNICODE") => Err(fault),
            Err(_) => Err(Fault::new("not a character set that needs permission")
                .help(crate::suggest::one_of(WIDE_CHARSETS.iter().copied()))
                .maybe(did_you_mean(text, WIDE_CHARSETS.iter().copied()))),
        }
    }
}

impl Text for Patient {
    const WHAT: &'static str = "`hmac:` and 64 hexadecimal digits";
    fn parse(text: &str) -> Result<Self, Fault> {
        let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        match text.strip_prefix("hmac:") {
            Some(digest) if digest.len() == 64 && digest.bytes().all(lower) => {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err(
                Fault::new("not `hmac:` and 64 lower-case hexadecimal digits").help(
                    "`lazaret patient hash` makes it; an identifier itself does not belong here",
                )
                .secret(),
            ),
        }
    }
}

impl Text for DeviceId {
    const WHAT: &'static str = "an identifier of a device like \"0012345678ABCDEF\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let parts = text.split('^').count();
        let sound = !text.contains(['|', '~']) && !text.chars().any(char::is_control);
        let named = text.chars().any(|c| c != '^' && c != ' ');
        if named && sound && parts <= 4 && text.len() <= 427 {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new("not an identifier of a device").help(
            "write EI.1 of OBX-18, such as an EUI-64, or all of it with `^` between its parts",
        ))
    }
}

fn is_code(code: &str) -> bool {
    let local = code.len() == 3
        && code.starts_with('Z')
        && code
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    local || CODES.contains(&code)
}

/// A trigger event of HL7 table 0003: a letter in use and two digits, the `PC` series, or a local one.
fn is_trigger(trigger: &str) -> bool {
    match trigger.as_bytes() {
        [b'Z', rest @ ..] => {
            rest.len() == 2
                && rest
                    .iter()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }
        [b'P', b'C', last] => matches!(last, b'1'..=b'9' | b'A'..=b'L'),
        [letter, tens, ones] => {
            b"ABCEIJKMNOPQRSTUVWX".contains(letter)
                && tens.is_ascii_digit()
                && ones.is_ascii_digit()
                && (*tens, *ones) != (b'0', b'0')
        }
        _ => false,
    }
}

const VERSIONS: &[&str] = &[
    "2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1",
    "2.8.2",
];

/// The codes that are meant most often, offered first among equally near ones.
const COMMON: &[&str] = &[
    "ORU", "ADT", "ORM", "OML", "OMG", "MDM", "SIU", "DFT", "QBP", "VXU",
];

/// HL7 table 0211, without those that cannot be framed by MLLP.
const CHARSETS: &[&str] = &[
    "ASCII",
    "8859/1",
    "8859/2",
    "8859/3",
    "8859/4",
    "8859/5",
    "8859/6",
    "8859/7",
    "8859/8",
    "8859/9",
    "8859/15",
    "ISO IR6",
    "ISO IR14",
    "ISO IR87",
    "ISO IR159",
    "GB 18030-2000",
    "KS X 1001",
    "CNS 11643-1992",
    "BIG-5",
    "UNICODE UTF-8",
];

/// Those in which a delimiter can be part of a character, or that escape sequences switch to.
const WIDE_CHARSETS: &[&str] = &[
    "ISO IR14",
    "ISO IR87",
    "ISO IR159",
    "GB 18030-2000",
    "KS X 1001",
    "CNS 11643-1992",
    "BIG-5",
];

/// HL7 table 0076, versions 2.1 to 2.8.2.
#[rustfmt::skip]
const CODES: &[&str] = &[
    "ACK", "ADR", "ADT", "BAR", "BPS", "BRP", "BRT", "BTS", "CCF", "CCI", "CCM", "CCQ", "CCR", "CCU", "CQU", "CRM",
    "CSU", "DBC", "DBU", "DEL", "DEO", "DER", "DFT", "DOC", "DPR", "DRC", "DRG", "DSR", "EAC", "EAN", "EAR", "EDR",
    "EHC", "EQQ", "ERP", "ESR", "ESU", "INR", "INU", "LSR", "LSU", "MCF", "MDM", "MFD", "MFK", "MFN", "MFQ", "MFR",
    "MRM", "NMD", "NMQ", "NMR", "OMB", "OMD", "OMG", "OMI", "OML", "OMN", "OMP", "OMQ", "OMS", "OPL", "OPR", "OPU",
    "ORA", "ORB", "ORD", "ORF", "ORG", "ORI", "ORL", "ORM", "ORN", "ORP", "ORR", "ORS", "ORU", "OSM", "OSQ", "OSR",
    "OSU", "OUL", "PEX", "PGL", "PIN", "PMU", "PPG", "PPP", "PPR", "PPT", "PPV", "PRR", "PTR", "QBP", "QCK", "QCN",
    "QRF", "QRY", "QSB", "QSX", "QVR", "RAR", "RAS", "RCI", "RCL", "RDE", "RDR", "RDS", "RDY", "REF", "RER", "RGR",
    "RGV", "ROR", "RPA", "RPI", "RPL", "RPR", "RQA", "RQC", "RQI", "RQP", "RQQ", "RRA", "RRD", "RRE", "RRG", "RRI",
    "RSP", "RTB", "SCN", "SDN", "SDR", "SIU", "SLN", "SLR", "SMD", "SPQ", "SQM", "SQR", "SRM", "SRR", "SSR", "SSU",
    "STC", "STI", "SUR", "TBR", "TCR", "TCU", "UDM", "VQQ", "VTQ", "VXQ", "VXR", "VXU", "VXX",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_message_types() {
        for good in [
            "ORU^R01", "ADT^A01", "ORU^*", "ZPI^Z01", "ACK^A01", "PPR^PC1", "QBP^ZV1",
        ] {
            assert!(MessageTypes::parse(good).is_ok(), "{good}");
        }
        for (bad, help) in [
            ("ORU", "did you mean `ORU^*`?"),
            ("ORV^R01", "did you mean `ORU^R01`?"),
            ("ORU^RO1", "did you mean `ORU^R01`?"),
            ("ORU^r01", "did you mean `ORU^R01`?"),
        ] {
            let fault = MessageTypes::parse(bad).unwrap_err();
            assert_eq!(fault.help.as_deref(), Some(help), "{bad}");
        }
        for bad in [
            "",
            "^",
            "*^*",
            "ORU^",
            "ORU^R1",
            "ORU^R01^ORU_R01",
            "ORU^R00",
            "oru^R01",
        ] {
            assert!(MessageTypes::parse(bad).is_err(), "{bad}");
        }
        assert!(message_type("ORU^*", false).is_err());
    }

    #[test]
    fn knows_devices() {
        for good in ["0012345678ABCDEF", "00-12", "7^ACME^1.2.3^ISO", "SN 7"] {
            assert!(DeviceId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "^", " ", "7^a^b^c^d", "7|8", "7~8", "7\r"] {
            assert!(DeviceId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn knows_senders_and_character_sets() {
        let sender = |a: &str, b: &str| Ok(Sender(a.to_owned(), b.to_owned()));
        assert_eq!(Sender::parse("ECG^CARDIO"), sender("ECG", "CARDIO"));
        assert_eq!(Sender::parse("ECG"), sender("ECG", ""));
        for bad in ["", "^CARDIO", "A^B^C", "A|B", "A\u{1}^B"] {
            assert!(Sender::parse(bad).is_err(), "{bad}");
        }
        assert!(Charset::parse("UNICODE UTF-8").is_ok());
        let help = Charset::parse("UTF-8").unwrap_err().help;
        assert_eq!(help.as_deref(), Some("did you mean `UNICODE UTF-8`?"));
        assert!(Charset::parse("UNICODE UTF-16").is_err());
        assert!(WideCharset::parse("ISO IR87").is_ok());
        for bad in ["ASCII", "UNICODE UTF-16", "ISO-IR 87", "UNICODE UTF-8"] {
            assert!(WideCharset::parse(bad).is_err(), "{bad}");
        }
    }
}
