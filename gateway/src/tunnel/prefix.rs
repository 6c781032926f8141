//! Whose address is it? The most specific prefix decides.
//!
//! In: prefixes with an owner. Out: the owner of an address.
//! Knows nothing of peers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

/// Prefixes of both families. A lookup costs one hash per prefix length in use.
#[derive(Clone, Debug)]
pub struct PrefixTable<T> {
    v4: Family<u32, T>,
    v6: Family<u128, T>,
}

/// By length, longest first, then by the network bits.
type Family<Bits, T> = BTreeMap<Reverse<u8>, HashMap<Bits, T>>;

impl<T: Copy> PrefixTable<T> {
    /// A table that owns nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            v4: BTreeMap::new(),
            v6: BTreeMap::new(),
        }
    }

    /// Gives a prefix to an owner; a prefix given twice belongs to the last.
    pub fn insert(&mut self, prefix: IpNet, owner: T) {
        let length = prefix.prefix_len();
        match prefix.network() {
            IpAddr::V4(network) => {
                let family = self.v4.entry(Reverse(length)).or_default();
                family.insert(network.to_bits(), owner);
            }
            IpAddr::V6(network) => {
                let family = self.v6.entry(Reverse(length)).or_default();
                family.insert(network.to_bits(), owner);
            }
        }
    }

    /// Gives prefixes to an owner: a device with two keys has its addresses by the one that shook hands last.
    pub fn give(&mut self, prefixes: &[IpNet], owner: T) {
        for prefix in prefixes {
            self.insert(*prefix, owner);
        }
    }

    /// The owner of the most specific prefix that holds the address.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.v4.iter().find_map(|(Reverse(length), family)| {
                let shift = 32_u32.saturating_sub(u32::from(*length));
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                family.get(&(address.to_bits() & mask)).copied()
            }),
            IpAddr::V6(address) => self.v6.iter().find_map(|(Reverse(length), family)| {
                let shift = 128_u32.saturating_sub(u32::from(*length));
                let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
                family.get(&(address.to_bits() & mask)).copied()
            }),
        }
    }
}

impl<T: Copy> Default for PrefixTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_prefix_decides() {
        let mut table = PrefixTable::new();
        let prefixes = [
            ("0.0.0.0/0", 0),
            ("10.0.0.0/8", 1),
            ("10.1.0.0/16", 2),
            ("10.1.2.3/32", 3),
            ("fd00::/8", 4),
            ("fd00::7/128", 5),
        ];
        for (prefix, owner) in prefixes {
            table.insert(prefix.parse().unwrap(), owner);
        }
        let cases = [
            ("192.0.2.1", Some(0)),
            ("10.9.9.9", Some(1)),
            ("10.1.9.9", Some(2)),
            ("10.1.2.3", Some(3)),
            ("10.1.2.4", Some(2)),
            ("fd00::8", Some(4)),
            ("fd00::7", Some(5)),
            ("2001:db8::1", None),
            ("::ffff:10.1.2.3", None),
        ];
        for (address, owner) in cases {
            assert_eq!(table.owner(address.parse().unwrap()), owner, "{address}");
        }
    }

    #[test]
    fn host_bits_of_a_prefix_do_not_matter_and_the_last_owner_wins() {
        let mut table = PrefixTable::new();
        table.insert("10.1.2.3/24".parse().unwrap(), 1);
        table.insert("10.1.2.0/24".parse().unwrap(), 2);
        assert_eq!(table.owner("10.1.2.200".parse().unwrap()), Some(2));
    }
}
