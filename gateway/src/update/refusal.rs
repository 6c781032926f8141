//! Why an update is not taken, by name: the closed list that operators and tests read.

use super::manifest::Role;
use super::version::Version;

/// Why an update is not taken. Nothing was written but, perhaps, a download.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The image brings no usable key.
    #[error("this machine has no valid key to check updates with")]
    Keys,
    /// There is no signature.
    #[error("the update has no signature")]
    Unsigned,
    /// It is of somebody else, or of another manifest.
    #[error("the signature of the update is wrong")]
    Signature,
    /// Longer than any manifest.
    #[error("the manifest is longer than {max} bytes")]
    ManifestTooLong {
        /// The bound.
        max: usize,
    },
    /// It is signed, but cannot be understood.
    #[error("the manifest cannot be understood: {0}")]
    Manifest(String),
    /// For something else.
    #[error("the update is for another product")]
    Product,
    /// For another kind of machine.
    #[error("the update is for another kind of machine ({offered}, this one is {here})")]
    Flavour {
        /// Of the update.
        offered: String,
        /// Of this machine.
        here: String,
    },
    /// The one that runs.
    #[error("version {0} runs already")]
    NotNewer(Version),
    /// Older than what runs, or than what is in the other slot.
    #[error("version {offered} is older than {installed}, which is installed")]
    Older {
        /// Of the update.
        offered: Version,
        /// What is installed.
        installed: Version,
    },
    /// It was tried and did not come up healthy, or an operator went back from it.
    #[error("version {version} is marked bad: {why}")]
    Bad {
        /// Which.
        version: Version,
        /// Why.
        why: String,
    },
    /// What runs has not shown yet that it is healthy: the version before must stay.
    #[error("version {0} runs on trial; an update would overwrite the version to go back to")]
    OnTrial(Version),
    /// A file has another name than its role and version give it.
    #[error("the manifest names a file for {0} that cannot be one")]
    Name(Role),
    /// Two files for one part.
    #[error("the manifest names two files for {0}")]
    Twice(Role),
    /// No file for a part.
    #[error("the manifest names no file for {0}")]
    Missing(Role),
    /// A size that no part has.
    #[error("the file for {role} has {size} bytes, at most {max} are possible")]
    Size {
        /// Of which part.
        role: Role,
        /// As the manifest says.
        size: u64,
        /// The bound.
        max: u64,
    },
    /// Other bytes than those that were signed, twice.
    #[error("the file for {0} does not have the hash that was signed")]
    Tampered(Role),
    /// Fewer or more bytes than the manifest says.
    #[error("the file for {role} does not have the {size} bytes that were signed, but {got}")]
    Length {
        /// Of which part.
        role: Role,
        /// What there is.
        got: u64,
        /// What must be.
        size: u64,
    },
    /// It does not fit.
    #[error("no space on {place}: {needed} bytes are needed, {free} are free")]
    Space {
        /// Where.
        place: &'static str,
        /// What is needed.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// Somebody updates already.
    #[error("another update is under way")]
    UnderWay,
    /// The time for it is over; what was fetched stays for the next.
    #[error(
        "not now: the window closed before version {0} was installed; what was fetched is kept"
    )]
    Window(Version),
    /// There is no version to go back to.
    #[error("there is no version before it that can be started")]
    NoOther,
}

impl Refusal {
    /// Which version was offered, as far as that is known.
    #[must_use]
    pub fn offered(&self) -> Option<&Version> {
        match self {
            Self::NotNewer(version) | Self::Window(version) => Some(version),
            Self::Older { offered, .. } => Some(offered),
            Self::Bad { version, .. } => Some(version),
            Self::Keys
            | Self::Unsigned
            | Self::Signature
            | Self::ManifestTooLong { .. }
            | Self::Manifest(_)
            | Self::Product
            | Self::Flavour { .. }
            | Self::OnTrial(_)
            | Self::Name(_)
            | Self::Twice(_)
            | Self::Missing(_)
            | Self::Size { .. }
            | Self::Tampered(_)
            | Self::Length { .. }
            | Self::Space { .. }
            | Self::UnderWay
            | Self::NoOther => None,
        }
    }

    /// A name that does not change, for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Keys => "no-keys",
            Self::Unsigned => "unsigned",
            Self::Signature => "wrong-signature",
            Self::ManifestTooLong { .. } => "manifest-too-long",
            Self::Manifest(_) => "bad-manifest",
            Self::Product => "wrong-product",
            Self::Flavour { .. } => "wrong-flavour",
            Self::NotNewer(_) => "not-newer",
            Self::Older { .. } => "older",
            Self::Bad { .. } => "marked-bad",
            Self::OnTrial(_) => "on-trial",
            Self::Name(_) => "bad-file-name",
            Self::Twice(_) => "duplicate-role",
            Self::Missing(_) => "missing-role",
            Self::Size { .. } => "bad-size",
            Self::Tampered(_) => "tampered",
            Self::Length { .. } => "wrong-length",
            Self::Space { .. } => "no-space",
            Self::UnderWay => "under-way",
            Self::Window(_) => "outside-window",
            Self::NoOther => "no-other-version",
        }
    }
}
