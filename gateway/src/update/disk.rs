//! The disk that the running system is on, and its partitions by their names.
//!
//! In: `/sys`, the database of udev, and what is mounted. Out: devices of that one disk.
//! A stick or a second disk may carry the same names, even the same identities: it is never asked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel and udev say what they know.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// `/sys`.
    pub sys: PathBuf,
    /// One file for each device, which names partitions.
    pub udev: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// What is mounted where.
    pub mounts: PathBuf,
}

impl Knowledge {
    /// Below a root.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self {
            sys: root.join("sys"),
            udev: root.join("run/udev/data"),
            dev: root.join("dev"),
            mounts: root.join("proc/self/mountinfo"),
        }
    }

    /// The partitions of the disk that the verified root is on.
    ///
    /// # Errors
    /// When there is no such root, or it lies on more than one disk; those of the file system.
    pub fn disk(&self) -> io::Result<Disk> {
        let mut below = Vec::new();
        for mapped in fs::read_dir(self.sys.join("block"))?.take(MOST_DEVICES) {
            let mapped = mapped?.path();
            let says = |what: &str| short(&mapped.join("dm").join(what)).unwrap_or_default();
            if says("name") != ROOT || !says("uuid").starts_with(VERITY) {
                continue;
            }
            for slave in fs::read_dir(mapped.join("slaves"))? {
                below.push(fs::canonicalize(slave?.path())?);
            }
        }
        let mut disks: Vec<&Path> = below.iter().filter_map(|one| one.parent()).collect();
        disks.dedup();
        let [disk] = disks.as_slice() else {
            return Err(io::Error::other("the system is on no single disk"));
        };
        let mut partitions = Vec::new();
        for entry in fs::read_dir(disk)?.take(MOST_DEVICES) {
            let entry = entry?;
            if !entry.path().join("partition").exists() {
                continue;
            }
            let numbers = short(&entry.path().join("dev"))?;
            partitions.push(Partition {
                device: self.dev.join(entry.file_name()),
                name: name(&self.udev.join(format!("b{numbers}")))?,
                numbers,
            });
        }
        if partitions.is_empty() {
            return Err(io::Error::other("the disk of the system has no partitions"));
        }
        partitions.sort_by(|one, other| one.device.cmp(&other.device));
        Ok(Disk { partitions })
    }
}

/// One disk.
#[derive(Clone, Debug)]
pub struct Disk {
    partitions: Vec<Partition>,
}

#[derive(Clone, Debug)]
struct Partition {
    device: PathBuf,
    name: Option<String>,
    /// `MAJOR:MINOR`.
    numbers: String,
}

impl Disk {
    /// The names of its partitions.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self.partitions.iter().filter_map(|one| one.name.clone());
        names.collect()
    }

    /// The device of the partition with a name.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(&self, name: &str) -> io::Result<&Path> {
        let mut found = (self.partitions.iter()).filter(|one| one.name.as_deref() == Some(name));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(&one.device),
            (Some(_), Some(_)) => Err(io::Error::other("two partitions have this name")),
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Makes sure that what is mounted at a place is on this disk.
    ///
    /// # Errors
    /// When it is not, or nothing is mounted there.
    pub fn holds(&self, place: &str, known: &Knowledge) -> io::Result<()> {
        let mounts = fs::read_to_string(&known.mounts)?;
        let numbers = mounts.lines().rev().find_map(|line| {
            let mut words = line.split(' ');
            let numbers = words.nth(2)?;
            (words.nth(1)? == place).then_some(numbers)
        });
        let Some(numbers) = numbers else {
            return Err(io::Error::other("nothing is mounted there"));
        };
        if self.partitions.iter().any(|one| one.numbers == numbers) {
            return Ok(());
        }
        let why = "what is mounted there is not on the disk that the system runs from";
        Err(io::Error::other(why))
    }
}

/// The name of a partition, as udev read it from the table; `None` if it has none.
fn name(entry: &Path) -> io::Result<Option<String>> {
    let text = match fs::read_to_string(entry) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let mut lines = text.lines();
    let name = lines.find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_NAME="));
    Ok(name.map(str::to_owned))
}

fn short(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

/// How the initrd calls the root.
const ROOT: &str = "root";
/// How the device mapper's identities of verified devices begin.
const VERITY: &str = "CRYPT-VERITY-";
//= C7
const MOST_DEVICES: usize = 4096;

#[cfg(test)]
mod tests {
    use crate::update::tests::world::Machine;

    #[test]
    fn only_the_disk_of_the_root_is_asked() {
        let machine = Machine::new();
        let known = machine.known();
        let disk = known.disk().unwrap();
        assert_eq!(disk.find("lazaret_1").unwrap(), machine.dev("vda3"));
        assert_eq!(disk.find("esp").unwrap(), machine.dev("vda1"));
        disk.holds("/efi", &known).unwrap();
        assert!(disk.holds("/boot", &known).is_err());
        // Two slots are empty; and one name belongs to a stick.
        assert!(disk.find("_empty").is_err());
        machine.disk("sda", 8, &["esp", "lazaret_1", "lazaret_9"]);
        let disk = known.disk().unwrap();
        assert_eq!(disk.find("lazaret_1").unwrap(), machine.dev("vda3"));
        assert!(disk.find("lazaret_9").is_err());
        assert_eq!(disk.names().len(), 6);
        machine.mount("8:1", "/efi");
        assert!(disk.holds("/efi", &known).is_err());
        machine.mount("254:1", "/efi");
        disk.holds("/efi", &known).unwrap();
    }

    #[test]
    fn a_root_that_is_not_verified_or_on_two_disks_is_none() {
        let machine = Machine::new();
        machine.disk("sda", 8, &["lazaret_1"]);
        machine.write("sys/block/dm-0/dm/uuid", "CRYPT-LUKS2-4f\n");
        assert!(machine.known().disk().is_err());
        machine.write("sys/block/dm-0/dm/uuid", "CRYPT-VERITY-4f-root\n");
        assert!(machine.known().disk().is_ok());
        machine.slave("sda", "sda1");
        assert!(machine.known().disk().is_err());
    }
}
