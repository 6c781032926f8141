//! How many values there are of a binary VR (PS3.5 6.4).
//!
//! In: VR and length. Out: a number. Knows nothing of how many there may be.

use dicom_core::header::VR;

/// Values of a binary VR of this width in so many bytes. Bytes and words of unknown meaning are one value.
pub(super) fn binary(vr: VR, width: u32, length: u32) -> u32 {
    if length == 0 {
        return 0;
    }
    if matches!(
        vr,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN | VR::SQ
    ) {
        return 1;
    }
    length.checked_div(width).unwrap_or(1)
}
