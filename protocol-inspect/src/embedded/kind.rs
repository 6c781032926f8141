//! The kinds of documents that are recognised, by the names that a rule lists them by.

use serde::{Deserialize, Serialize};

/// What a rule that lists no kinds does with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Passes.
    Harmless,
    /// Does not pass: a reader of it may do more than show it.
    Active,
    /// Does not pass: nobody sees what is inside of it.
    Archive,
    /// Does not pass even in shadow.
    Executable,
    /// Passes with a warning, but not under the strict profile.
    Unknown,
}

macro_rules! kinds {
    ($($variant:ident $name:literal $group:ident $what:literal;)*) => {
        /// A kind of document, recognised by its bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`: ", $what, ".")] #[serde(rename = $name)] $variant,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name by which a rule lists it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub(crate) fn group(self) -> Group {
                match self {
                    $(Self::$variant => Group::$group,)*
                }
            }

            /// What is said of one that is not carried.
            pub(crate) fn complaint(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!(
                        "holds ", $what, ", and the rule does not list the kind `", $name, "`"
                    ),)*
                }
            }
        }
    };
}

kinds! {
    Pdf "pdf" Harmless "a PDF without active content";
    Jpeg "jpeg" Harmless "a JPEG image";
    Png "png" Harmless "a PNG image";
    Gif "gif" Harmless "a GIF image";
    Tiff "tiff" Harmless "a TIFF image";
    Bmp "bmp" Harmless "a BMP image";
    Jpeg2000 "jpeg2000" Harmless "a JPEG 2000 image";
    Webp "webp" Harmless "a WebP image";
    Dicom "dicom" Harmless "a DICOM file";
    Wav "wav" Harmless "a WAV recording";
    Cda "cda" Harmless "a clinical document (CDA)";
    Xml "xml" Harmless "an XML document";
    Text "text" Harmless "plain text";
    Mp3 "mp3" Active "an MP3 recording";
    Mp4 "mp4" Active "an MP4 or QuickTime film";
    Ogg "ogg" Active "an Ogg recording";
    Flac "flac" Active "a FLAC recording";
    Avi "avi" Active "an AVI film";
    PdfActive "pdf-active" Active "a PDF with scripts, programs or files";
    Html "html" Active "a web page";
    Svg "svg" Active "an SVG image";
    Rtf "rtf" Active "an RTF document";
    Ole "ole" Active "an OLE document (old Office)";
    Office "office" Active "an Office document";
    Postscript "postscript" Active "a PostScript program";
    Hl7 "hl7" Active "an HL7 message";
    Mime "mime" Archive "a MIME package";
    Zip "zip" Archive "a ZIP archive";
    Rar "rar" Archive "a RAR archive";
    SevenZip "7z" Archive "a 7z archive";
    Gzip "gzip" Archive "gzip data";
    Bzip2 "bzip2" Archive "bzip2 data";
    Xz "xz" Archive "xz data";
    Zstd "zstd" Archive "zstd data";
    Cab "cab" Archive "a cabinet archive";
    Tar "tar" Archive "a tar archive";
    Iso "iso" Archive "a disk image";
    Exe "exe" Executable "a DOS or Windows program";
    Elf "elf" Executable "an ELF program";
    MachO "mach-o" Executable "a Mach-O program";
    Java "java" Executable "a Java class or archive, or an Android package";
    Wasm "wasm" Executable "a WebAssembly program";
    Lnk "lnk" Executable "a Windows shortcut";
    Script "script" Executable "a script";
    Unknown "unknown" Unknown "a document of unknown kind";
}

impl Kind {
    /// The kind of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether it is XML, whatever the elements are called.
    pub(crate) fn is_markup(self) -> bool {
        matches!(self, Self::Cda | Self::Xml | Self::Svg | Self::Html)
    }
}
