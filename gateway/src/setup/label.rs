//! Which block devices are first-boot sticks.
//!
//! In: what udev wrote of each block device. Out: the one with a FAT file system labelled `LAZARET`, or why there is none.

/// What the file system of a stick is called.
pub const LABEL: &str = "LAZARET";

/// Whether an entry of udev's database describes a stick of ours.
#[must_use]
pub fn is_stick(entry: &str) -> bool {
    let value = |key: &str| {
        entry.lines().find_map(|line| {
            line.strip_prefix("E:")?
                .strip_prefix(key)?
                .strip_prefix('=')
        })
    };
    value("ID_FS_TYPE") == Some("vfat")
        && value("ID_FS_LABEL").is_some_and(|label| label.eq_ignore_ascii_case(LABEL))
}

/// The one of several; `Err` names all of them.
///
/// # Errors
/// When there is more than one: nobody can say which is meant.
pub fn only<T: Clone + AsRef<std::path::Path>>(found: &[T]) -> Result<Option<T>, String> {
    match found {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        more => {
            let names = more.iter().map(|one| one.as_ref().display().to_string());
            Err(names.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_stick_by_its_file_system_and_label() {
        let entry = |kind: &str, label: &str| {
            format!("S:disk/by-label/X\nE:ID_FS_LABEL={label}\nE:ID_FS_TYPE={kind}\n")
        };
        for (kind, label, stick) in [
            ("vfat", "LAZARET", true),
            ("vfat", "lazaret", true),
            ("vfat", "LAZARET2", false),
            ("ext4", "LAZARET", false),
            ("", "", false),
        ] {
            assert_eq!(is_stick(&entry(kind, label)), stick, "{kind} {label}");
        }
        assert!(!is_stick("E:ID_FS_LABEL_ENC=LAZARET\nE:ID_FS_TYPE=vfat\n") && !is_stick(""));
        assert_eq!(only::<&str>(&[]), Ok(None));
        assert_eq!(only(&["/dev/sda1"]), Ok(Some("/dev/sda1")));
        assert_eq!(
            only(&["/dev/sda1", "/dev/sdb1"]),
            Err("/dev/sda1, /dev/sdb1".to_owned())
        );
    }
}
