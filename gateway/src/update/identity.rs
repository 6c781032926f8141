//! What runs: product, version and kind of machine, by os-release. Pure.

use super::manifest::PRODUCT;
use super::version::Version;

/// The image that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `IMAGE_VERSION`.
    pub version: Version,
    /// `VARIANT_ID`: `vm` or `metal`.
    pub flavour: String,
}

impl Identity {
    /// Reads os-release; `None` where it is not our image, such as a server on which the package was installed.
    #[must_use]
    pub fn read(os_release: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = os_release.lines();
            let text = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
            Some(text.trim().trim_matches(['"', '\'']))
        };
        if value("IMAGE_ID")? != PRODUCT {
            return None;
        }
        Some(Self {
            version: value("IMAGE_VERSION")?.parse().ok()?,
            flavour: value("VARIANT_ID")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_our_image_only() {
        let ours = "ID=debian\nIMAGE_ID=lazaret\nIMAGE_VERSION=\"1.2\"\nVARIANT_ID='vm'\n";
        let identity = Identity::read(ours).unwrap();
        assert_eq!(identity.version.to_string(), "1.2");
        assert_eq!(identity.flavour, "vm");
        for bad in [
            "ID=debian\n".to_owned(),
            ours.replace("lazaret", "other"),
            ours.replace("1.2", "rolling"),
            ours.replace("VARIANT_ID", "VARIANT"),
        ] {
            assert_eq!(Identity::read(&bad), None, "{bad}");
        }
    }
}
