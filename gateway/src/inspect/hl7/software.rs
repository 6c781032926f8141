//! What made a message: MSH-3, and SFT-1 to SFT-3 of the first SFT segments.
//!
//! In: the bytes of a message. Out: one line, if all of it can be shown. Reads the first segments only. Pure.

use crate::inspect::Observed;

/// What made this message.
//= HL7 v2.5.1 2.15.12
pub(super) fn of(message: &[u8]) -> Option<Observed> {
    let separator = *message.strip_prefix(b"MSH")?.first()?;
    let mut segments = message.split(|byte| *byte == b'\r');
    let application = segments.next()?.split(|byte| *byte == separator).nth(2)?;
    let software = segments
        .take(MOST_SEGMENTS)
        .take_while(|segment| segment.starts_with(b"SFT"))
        .flat_map(|segment| {
            segment
                .split(move |byte| *byte == separator)
                .skip(1)
                .take(3)
        });
    Observed::software(std::iter::once(application).chain(software))
}

//= C7
const MOST_SEGMENTS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_made_a_message_is_told_if_it_can_be_shown() {
        let told = |text: &str| match of(text.as_bytes()) {
            Some(Observed::Software(text)) => Some(text),
            Some(Observed::SopClass(_)) | None => None,
        };
        let head = "MSH|^~\\&|ECG^1.2^ISO|WARD|HIS|H|2026||ORU^R01|1|P|2.5.1\r";
        assert_eq!(
            told(&format!("{head}PID|||P1\r")).as_deref(),
            Some("ECG^1.2^ISO")
        );
        let software = "SFT|Maker|4.2|Heart|77\r";
        assert_eq!(
            told(&format!("{head}{software}PID|||P1\r")).as_deref(),
            Some("ECG^1.2^ISO Maker 4.2 Heart")
        );
        let three = software.repeat(3);
        let told_of_three = told(&format!("{head}{three}")).unwrap();
        assert_eq!(told_of_three.matches("Heart").count(), 2);
        for none in [
            "",
            "MSH",
            "MSH|",
            "PID|||P1",
            "FHS|^~\\&|A\rMSH|^~\\&|B\r",
            "MSH|^~\\&||WARD\r",
            "MSH|^~\\&|caf\u{e9}|WARD\r",
            "MSH|^~\\&|a\u{7}b|WARD\r",
            &format!("MSH|^~\\&|{}|WARD\r", "x".repeat(128)),
        ] {
            assert_eq!(told(none), None, "{none:?}");
        }
        let longest = "x".repeat(127);
        assert_eq!(told(&format!("MSH|^~\\&|{longest}|W\r")), Some(longest));
    }
}
