//! Photometric Interpretation: which there are, and with what they go together (PS3.3 C.7.6.3.1.2, PS3.5 8.2).
//!
//! In: the value, the image and how it is compressed. Out: a doubt; nobody's pixels are worse for it.

use super::super::super::transfer::Compression;
use super::Doubt;
use super::geometry::Image;
use crate::severity::Weight;

/// Photometric Interpretation (0028,0004).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// `MONOCHROME1` and `MONOCHROME2`.
    Monochrome,
    PaletteColor,
    Rgb,
    YbrFull,
    YbrFull422,
    /// `YBR_PARTIAL_422`, which is retired.
    YbrPartial422,
    YbrPartial420,
    YbrIct,
    YbrRct,
    /// Of JPEG XL.
    Xyb,
    /// `HSV`, `ARGB` and `CMYK`.
    Retired,
    Unknown,
}

impl Photometric {
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let end = value.iter().rposition(|byte| !matches!(byte, 0 | b' '))?;
        Some(
            match value.get(..=end).unwrap_or_default().trim_ascii_start() {
                b"MONOCHROME1" | b"MONOCHROME2" => Self::Monochrome,
                b"PALETTE COLOR" => Self::PaletteColor,
                b"RGB" => Self::Rgb,
                b"YBR_FULL" => Self::YbrFull,
                b"YBR_FULL_422" => Self::YbrFull422,
                b"YBR_PARTIAL_422" => Self::YbrPartial422,
                b"YBR_PARTIAL_420" => Self::YbrPartial420,
                b"YBR_ICT" => Self::YbrIct,
                b"YBR_RCT" => Self::YbrRct,
                b"XYB" => Self::Xyb,
                b"HSV" | b"ARGB" | b"CMYK" => Self::Retired,
                _ => Self::Unknown,
            },
        )
    }

    /// How many samples are there for how many pixels, where it is not as many as samples per pixel say.
    pub(super) fn subsampling(self) -> (u128, u128) {
        match self {
            Self::YbrFull422 | Self::YbrPartial422 => (2, 1),
            Self::YbrPartial420 => (3, 2),
            Self::Monochrome
            | Self::PaletteColor
            | Self::Rgb
            | Self::YbrFull
            | Self::YbrIct
            | Self::YbrRct
            | Self::Xyb
            | Self::Retired
            | Self::Unknown => (1, 1),
        }
    }

    /// The first thing that does not go together.
    pub(super) fn doubt(self, image: &Image, compression: Option<Compression>) -> Option<Doubt> {
        let samples = match self {
            Self::Monochrome | Self::PaletteColor => Some(1),
            Self::Rgb
            | Self::YbrFull
            | Self::YbrFull422
            | Self::YbrPartial422
            | Self::YbrPartial420
            | Self::YbrIct
            | Self::YbrRct
            | Self::Xyb => Some(3),
            Self::Retired | Self::Unknown => None,
        };
        let detail = if self == Self::Unknown {
            "has a photometric interpretation that does not exist"
        } else if self == Self::Retired {
            "has a photometric interpretation that is retired"
        } else if samples.is_some_and(|samples| image.samples.is_some_and(|own| own != samples)) {
            "has another number of samples than its photometric interpretation"
        } else if !self.goes_with(compression) {
            "has a photometric interpretation that its transfer syntax does not allow"
        } else {
            return None;
        };
        Some(Doubt {
            weight: Weight::Strict,
            detail,
        })
    }

    /// PS3.5 8.2, tables of the compressed syntaxes. More is allowed here where images of old are known to differ.
    fn goes_with(self, compression: Option<Compression>) -> bool {
        let allowed: &[Self] = match compression {
            None | Some(Compression::Uncompressed | Compression::Deflated) => &[
                Self::Monochrome,
                Self::PaletteColor,
                Self::Rgb,
                Self::YbrFull,
                Self::YbrFull422,
                Self::YbrPartial422,
            ],
            Some(Compression::Rle) => &[
                Self::Monochrome,
                Self::PaletteColor,
                Self::Rgb,
                Self::YbrFull,
            ],
            Some(Compression::Jpeg) => &[
                Self::Monochrome,
                Self::Rgb,
                Self::YbrFull,
                Self::YbrFull422,
                Self::YbrPartial422,
            ],
            Some(Compression::JpegLossless | Compression::JpegLs) => &[
                Self::Monochrome,
                Self::PaletteColor,
                Self::Rgb,
                Self::YbrFull,
                Self::YbrFull422,
            ],
            Some(Compression::Jpeg2000 | Compression::Jpeg2000Part2) => &[
                Self::Monochrome,
                Self::PaletteColor,
                Self::Rgb,
                Self::YbrFull,
                Self::YbrIct,
                Self::YbrRct,
            ],
            Some(Compression::Mpeg2 | Compression::Mpeg4) => {
                &[Self::Monochrome, Self::YbrPartial420]
            }
            Some(Compression::JpegXl) => &[
                Self::Monochrome,
                Self::PaletteColor,
                Self::Rgb,
                Self::YbrFull,
                Self::YbrFull422,
                Self::YbrIct,
                Self::YbrRct,
                Self::Xyb,
            ],
        };
        allowed.contains(&self)
    }
}
