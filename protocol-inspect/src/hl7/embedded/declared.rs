//! Whether what ED says of its document can be true of the kind that was recognised.
//!
//! In: ED.2 or ED.3 and a kind. Out: yes, no, or that it says nothing.

use crate::embedded::Kind;

/// Whether a document of this kind may be called so in ED.3 (table 0291 and what senders write); `None` if it says nothing.
pub(super) fn is_of_subtype(subtype: &[u8], kind: Kind) -> Option<bool> {
    let lower = subtype.to_ascii_lowercase();
    let kinds: &[Kind] = match lower.strip_prefix(b"x-").unwrap_or(&lower) {
        b"jpeg" | b"jpg" => &[Kind::Jpeg],
        b"png" => &[Kind::Png],
        b"gif" => &[Kind::Gif],
        b"tiff" | b"tif" => &[Kind::Tiff],
        b"bmp" => &[Kind::Bmp],
        b"pdf" => &[Kind::Pdf, Kind::PdfActive],
        b"dicom" => &[Kind::Dicom],
        b"rtf" => &[Kind::Rtf],
        b"html" => &[Kind::Html, Kind::Script],
        b"xml" => &[Kind::Xml, Kind::Cda, Kind::Svg, Kind::Html],
        b"hl7-cda-level-one" | b"hl7-cda-level-two" | b"hl7-cda-level-three" => {
            &[Kind::Cda, Kind::Mime]
        }
        b"plain" => &[Kind::Text, Kind::Unknown],
        b"postscript" => &[Kind::Postscript],
        b"wav" => &[Kind::Wav],
        b"zip" => &[Kind::Zip, Kind::Office],
        _ => return None,
    };
    Some(kinds.contains(&kind))
}

/// The same for ED.2 (tables 0191 and 0834).
pub(super) fn is_of_type(declared: &[u8], kind: Kind) -> bool {
    let image = matches!(
        kind,
        Kind::Jpeg | Kind::Png | Kind::Gif | Kind::Tiff | Kind::Bmp | Kind::Jpeg2000 | Kind::Webp
    );
    let sound = matches!(
        kind,
        Kind::Wav | Kind::Mp3 | Kind::Ogg | Kind::Flac | Kind::Mp4
    );
    match declared.to_ascii_lowercase().as_slice() {
        b"im" | b"image" => {
            image || matches!(kind, Kind::Dicom | Kind::Svg | Kind::Pdf | Kind::Unknown)
        }
        b"au" | b"audio" => sound || kind == Kind::Unknown,
        b"video" => matches!(kind, Kind::Mp4 | Kind::Avi | Kind::Ogg | Kind::Unknown),
        b"text" => !image && !sound,
        _ => true,
    }
}
