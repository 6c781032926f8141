//! What may stand inside of HL7 fields and segments: kinds of documents, hosts of pointers, local segments.

use crate::problem::Fault;
use crate::section::Text;
use crate::suggest::{did_you_mean, one_of};

/// One of [`DOCUMENT_KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DocumentKind(pub(crate) &'static str);

/// A host to which a pointer may lead, `pacs.example.org`, `*.example.org` or `10.20.1.10:8080`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PointerHost(pub(crate) String);

/// The name of a local segment, `ZPD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalSegment(pub(crate) String);

impl Text for DocumentKind {
    const WHAT: &'static str = "a kind of document like \"pdf\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let kinds = DOCUMENT_KINDS.iter().copied();
        match kinds.clone().find(|kind| *kind == text) {
            Some(kind) => Ok(Self(kind)),
            None => Err(Fault::new("unknown kind of document")
                .maybe(did_you_mean(text, kinds.clone()).or_else(|| Some(one_of(kinds))))),
        }
    }
}

impl Text for PointerHost {
    const WHAT: &'static str = "a host like \"pacs.example.org\"";
    fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::new("not a host like \"pacs.example.org\" or \"*.example.org\"");
        if text.contains("://") {
            return Err(wrong().help("without `https://`: both http and https are meant"));
        }
        if text.contains('/') {
            return Err(wrong().help("without a path: all paths of the host are meant"));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (text, None),
        };
        let port_is_good =
            |port: &str| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok();
        if !port.is_none_or(port_is_good) {
            return Err(wrong().help("the port is 1 to 65535; IPv6 addresses stand in brackets"));
        }
        let name = host.strip_prefix("*.").unwrap_or(host);
        if name == "*" || (name != host && !name.contains('.')) {
            let help = "a `*.` stands before a domain with a dot, such as `*.example.org`";
            return Err(wrong().help(help));
        }
        let address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        if address || name.split('.').all(is_label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(wrong())
        }
    }
}

fn is_label(label: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&label.len())
        && label.chars().all(letters)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl Text for LocalSegment {
    const WHAT: &'static str = "a local segment like `ZPD`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        if text.len() == 3 && text.starts_with('Z') && text.chars().all(is_name) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new("not a local segment like `ZPD`")
            .help("Z and two capital letters or digits; other segments are those of the standard"))
    }
}

/// The kinds of documents that are recognised, by their names.
pub const DOCUMENT_KINDS: &[&str] = &[
    "pdf",
    "jpeg",
    "png",
    "gif",
    "tiff",
    "bmp",
    "jpeg2000",
    "webp",
    "dicom",
    "wav",
    "cda",
    "xml",
    "text",
    "mp3",
    "mp4",
    "ogg",
    "flac",
    "avi",
    "pdf-active",
    "html",
    "svg",
    "rtf",
    "ole",
    "office",
    "postscript",
    "hl7",
    "mime",
    "zip",
    "rar",
    "7z",
    "gzip",
    "bzip2",
    "xz",
    "zstd",
    "cab",
    "tar",
    "iso",
    "exe",
    "elf",
    "mach-o",
    "java",
    "wasm",
    "lnk",
    "script",
    "unknown",
];
