//! What to do about a file that is refused only because of how it is kept.
//!
//! In: the bytes. Out: a sentence that names the switch. Nothing is ever tried or assumed: the verdict stays what it is.

use protocol_inspect::hl7::{Layout, Offline};

/// Help with a refused HL7 file.
pub(super) fn hl7(bytes: &[u8], offline: &Offline) -> Option<&'static str> {
    if looks_like_part10(bytes) {
        return Some("this is a DICOM file, which `inspect dicom` judges");
    }
    if offline.layout == Layout::Stream {
        let is_bare = bytes.starts_with(b"MSH");
        return is_bare.then_some("the file holds no MLLP frames; leave --raw out");
    }
    if bytes.starts_with(b"\x0b") {
        return Some("the file holds MLLP frames, which --raw judges");
    }
    // What is no message at all gets no better by other line ends.
    let text = bytes.trim_ascii_start();
    let feeds = !offline.line_feeds && text.contains(&b'\n');
    if text.starts_with(b"FHS") || text.starts_with(b"BHS") {
        return batch(feeds, offline.batches);
    }
    if !text.starts_with(b"MSH") {
        return None;
    }
    let several = offline.layout == Layout::Single
        && text
            .windows(4)
            .any(|window| matches!(window, b"\rMSH" | b"\nMSH"));
    match (feeds, several) {
        (true, false) => Some(
            "segments end with line feeds, as editors keep them; \
             --line-feeds judges them as the carriage returns that would be on the wire",
        ),
        (false, true) => Some("the file holds several messages, which --split judges one by one"),
        (true, true) => Some(
            "the file holds several messages with line feeds, as editors keep them; \
             --split --line-feeds judges them one by one as they would be on the wire",
        ),
        (false, false) => None,
    }
}

fn batch(feeds: bool, carried: bool) -> Option<&'static str> {
    match (feeds, carried) {
        (false, true) => None,
        (false, false) => Some(
            "the file holds a batch; --batches judges it as a rule with `batches = true` would",
        ),
        (true, true) => Some(
            "segments end with line feeds, as editors keep them; \
             --line-feeds judges them as the carriage returns that would be on the wire",
        ),
        (true, false) => Some(
            "the file holds a batch with line feeds, as editors keep them; \
             --batches --line-feeds judges it as a rule with `batches = true` would on the wire",
        ),
    }
}

/// Help with a refused DICOM file.
pub(super) fn dicom(bytes: &[u8], raw: bool) -> Option<&'static str> {
    let is_part10 = looks_like_part10(bytes);
    if bytes.starts_with(b"MSH") || bytes.starts_with(b"\x0bMSH") {
        Some("this is an HL7 message, which `inspect hl7` judges")
    } else if raw && is_part10 {
        Some("this is a file and not a connection; leave --raw out")
    } else if !raw && !is_part10 && bytes.starts_with(b"\x01\0\0\0") {
        Some("this looks like what a client sends on a connection, which --raw judges")
    } else {
        None
    }
}

//= DICOM PS3.10 7.1
fn looks_like_part10(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_switch() {
        let said = |text: &[u8], layout, line_feeds| {
            let offline = Offline {
                layout,
                line_feeds,
                ..Offline::default()
            };
            hl7(text, &offline).unwrap_or("")
        };
        let (single, split, raw) = (Layout::Single, Layout::Sequence, Layout::Stream);
        let lines = b"MSH|1\nPID\n";
        assert!(said(lines, single, false).contains(" --line-feeds "));
        assert_eq!(said(lines, single, true), "");
        assert!(said(b"MSH|1\rMSH|2\r", single, false).contains(" --split "));
        assert_eq!(said(b"MSH|1\rMSH|2\r", split, false), "");
        assert!(said(b"MSH|1\nMSH|2\n", single, false).contains(" --split --line-feeds "));
        assert!(said(b"MSH|1\nMSH|2\n", split, false).contains(" --line-feeds "));
        assert!(said(b"MSH|1\nMSH|2\n", single, true).contains(" --split "));
        assert!(said(b"\x0bMSH|1\r\x1c\r", single, false).contains("--raw judges"));
        assert!(said(b"MSH|1\r", raw, false).contains("leave --raw out"));
        assert_eq!(said(b"# a\nMSH|1\n", single, false), "");
        assert_eq!(said(b"", single, false), "");
        let batch = |text: &[u8], line_feeds, batches| {
            let offline = Offline {
                line_feeds,
                batches,
                ..Offline::default()
            };
            hl7(text, &offline).unwrap_or("")
        };
        assert!(batch(b"FHS|1\rMSH|", false, false).contains(" --batches judges it"));
        assert!(batch(b"BHS|1\nMSH|", false, false).contains(" --batches --line-feeds "));
        assert!(batch(b"BHS|1\nMSH|", false, true).contains(" --line-feeds "));
        assert_eq!(batch(b"FHS|1\rMSH|", false, true), "");
        let mut part10 = vec![0; 128];
        part10.extend(b"DICM");
        assert!(said(&part10, single, false).contains("inspect dicom"));
        assert!(dicom(&part10, true).unwrap().contains("leave --raw out"));
        assert!(dicom(b"MSH|", false).unwrap().contains("inspect hl7"));
        assert!(dicom(b"\x01\0\0\0\0\0", false).unwrap().contains("--raw"));
        assert_eq!((dicom(&part10, false), dicom(b"", true)), (None, None));
    }
}
