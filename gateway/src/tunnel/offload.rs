//! Many packets of TCP as one: what the kernel hands over whole is cut, and what goes back to it is joined.
//!
//! In: what is read from a TUN with virtio-net headers; packets. Out: packets; what is written to it.
//! A packet joins others only if cutting them again gives the same packets, but for the mark of the last (PSH) and the
//! number that IPv4 needs for fragments, of which there are none.

use std::io::{self, IoSlice};

use tun_rs::{
    VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_LEN, VirtioNetHdr, gso_split,
};

use super::batch::Batch;

/// The longest that the kernel hands over.
pub(super) const MAX_READ: usize = VIRTIO_NET_HDR_LEN + 65_536;

/// Cuts what was read into packets.
///
/// # Errors
/// When it is nothing that the kernel would give.
pub(super) fn cut(read: &mut [u8], batch: &mut Batch<()>) -> io::Result<()> {
    let head = VirtioNetHdr::decode(read)?;
    let packet = read.get_mut(VIRTIO_NET_HDR_LEN..).unwrap_or_default();
    let kind = head.gso_type & !GSO_ECN;
    if kind == GSO_NONE {
        if head.flags & NEEDS_SUM != 0 {
            finish_sum(packet, head.csum_start.into(), head.csum_offset.into());
        }
        batch.push(packet, ());
        return Ok(());
    }
    let is_v6 = packet.first().map(|byte| byte >> 4) == Some(6);
    let start = usize::from(head.csum_start);
    // What the kernel says of the length may be too much: the header of TCP itself is believed.
    let header = if kind == GSO_UDP {
        start + 8
    } else {
        start + usize::from(packet.get(start + 12).copied().unwrap_or_default() >> 4) * 4
    };
    let step = header + usize::from(head.gso_size).max(1);
    let count = packet.len().saturating_sub(header).div_ceil(step - header);
    if count > MAX_PIECES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let head = VirtioNetHdr {
        gso_type: kind,
        hdr_len: u16::try_from(header).map_err(|_| io::ErrorKind::InvalidData)?,
        ..head
    };
    let space = batch.space(step.saturating_mul(count));
    // All but the last are of one size, so that there are no gaps.
    let mut pieces: Vec<&mut [u8]> = space.chunks_mut(step).collect();
    let mut sizes = vec![0; pieces.len()];
    let made = gso_split(packet, head, &mut pieces, &mut sizes, 0, is_v6)?;
    for size in sizes.into_iter().take(made) {
        batch.commit(size, ());
    }
    Ok(())
}

/// The kernel left the sum of TCP or UDP to whoever sends the packet: what is there is the sum of the addresses.
fn finish_sum(packet: &mut [u8], start: usize, offset: usize) {
    let Some(rest) = packet.get_mut(start..) else {
        return;
    };
    let sum = !fold(add(0, rest));
    if let Some(field) = rest.get_mut(offset..offset + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

/// The ones' complement sum of 16-bit words, not folded.
fn add(before: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = before;
    for word in words {
        // A packet has fewer than 2^15 words: no overflow.
        sum = sum.wrapping_add(u32::from_be_bytes(*word).into());
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum.wrapping_add(u32::from_be_bytes(last).into())
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The head of a packet of TCP that may join others.
#[derive(Clone, Copy)]
struct Segment<'p> {
    /// IP and TCP.
    header: &'p [u8],
    payload: &'p [u8],
    ip: usize,
    is_v6: bool,
    sequence: u32,
    flags: u8,
}

impl<'p> Segment<'p> {
    fn read(packet: &'p [u8]) -> Option<Self> {
        let (is_v6, ip, protocol, length) = match packet.first()? {
            // No options.
            0x45 => {
                let fixed: &[u8; 20] = packet.first_chunk()?;
                // No fragments.
                let whole = u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff == 0;
                let length = u16::from_be_bytes([fixed[2], fixed[3]]);
                whole.then_some((false, 20, fixed[9], usize::from(length)))?
            }
            first if first >> 4 == 6 => {
                let fixed: &[u8; 40] = packet.first_chunk()?;
                let length = u16::from_be_bytes([fixed[4], fixed[5]]);
                (true, 40, fixed[6], 40 + usize::from(length))
            }
            _ => return None,
        };
        if protocol != TCP || length != packet.len() {
            return None;
        }
        let tcp = packet.get(ip..)?;
        let fixed: &[u8; 20] = tcp.first_chunk()?;
        let header = ip + usize::from(fixed[12] >> 4) * 4;
        let (header, payload) = packet.split_at_checked(header)?;
        let plain = fixed[13] & !PUSH == ACK && header.len() >= ip + 20 && !payload.is_empty();
        let segment = Self {
            header,
            payload,
            ip,
            is_v6,
            sequence: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            flags: fixed[13],
        };
        // A wrong sum would be right after joining.
        let all = add(segment.of_addresses(tcp.len()), tcp);
        (plain && fold(all) == 0xffff).then_some(segment)
    }

    /// The part of the sum of TCP that is not in TCP.
    fn of_addresses(&self, length: usize) -> u64 {
        let addresses = if self.is_v6 { 8..40 } else { 12..20 };
        let bytes = self.header.get(addresses).unwrap_or_default();
        let length = u64::try_from(length).unwrap_or_default();
        add(length.wrapping_add(TCP.into()), bytes)
    }

    /// All that must be the same: everything but lengths, sums, numbers and the mark of a last one.
    fn is_alike(&self, other: &Self) -> bool {
        let ip = self.ip;
        let same = |range: std::ops::Range<usize>| self.part(range.clone()) == other.part(range);
        let of_ip = if self.is_v6 {
            same(0..4) && same(6..40)
        } else {
            same(0..2) && same(6..10) && same(12..20)
        };
        // Ports; number of the acknowledgement, length; window; the rest without the sum.
        self.header.len() == other.header.len()
            && self.is_v6 == other.is_v6
            && of_ip
            && same(ip..ip + 4)
            && same(ip + 8..ip + 13)
            && same(ip + 14..ip + 16)
            && same(ip + 18..self.header.len())
    }

    /// Whether both are of one connection.
    fn is_of(&self, other: &Self) -> bool {
        let addresses = if self.is_v6 { 8..40 } else { 12..20 };
        let ports = self.ip..self.ip + 4;
        self.is_v6 == other.is_v6
            && self.part(addresses.clone()) == other.part(addresses)
            && self.part(ports.clone()) == other.part(ports)
    }

    fn part(&self, range: std::ops::Range<usize>) -> Option<&'p [u8]> {
        self.header.get(range)
    }
}

/// Packets that go to the kernel as one, or one alone.
struct Train<'p> {
    first: Option<Segment<'p>>,
    /// Whole packets; of a train all but the first without their headers.
    parts: Vec<&'p [u8]>,
    /// All of them, as they came.
    packets: Vec<&'p [u8]>,
    next: u32,
    payload: usize,
    last_flags: u8,
    is_closed: bool,
}

impl<'p> Train<'p> {
    fn new(packet: &'p [u8]) -> Self {
        let first = Segment::read(packet);
        let payload = first.map_or(0, |segment| segment.payload.len());
        let next = first.map_or(0, |segment| {
            let length = u32::try_from(payload).unwrap_or_default();
            segment.sequence.wrapping_add(length)
        });
        Self {
            parts: vec![packet],
            packets: vec![packet],
            next,
            payload,
            last_flags: first.map_or(0, |segment| segment.flags),
            is_closed: first.is_none_or(|segment| segment.flags & PUSH != 0),
            first,
        }
    }

    /// Whether it took the packet.
    fn takes(&mut self, packet: &'p [u8], segment: &Segment<'p>) -> bool {
        let Some(first) = &self.first else {
            return false;
        };
        let length = segment.payload.len();
        let total = first.header.len() + self.payload + length;
        let fits = length <= first.payload.len() && total <= usize::from(u16::MAX);
        let goes_on = !self.is_closed && segment.sequence == self.next;
        if !fits || !goes_on || self.parts.len() >= MAX_PARTS || !segment.is_alike(first) {
            // What comes later must not go before.
            self.is_closed = true;
            return false;
        }
        self.is_closed = length < first.payload.len() || segment.flags & PUSH != 0;
        self.parts.push(segment.payload);
        self.packets.push(packet);
        self.payload += length;
        self.next = (self.next).wrapping_add(u32::try_from(length).unwrap_or_default());
        self.last_flags = segment.flags;
        true
    }

    /// Its virtio-net header, and its own if it is several.
    fn heads(&self) -> ([u8; VIRTIO_NET_HDR_LEN], Option<Vec<u8>>) {
        let mut bytes = [0; VIRTIO_NET_HDR_LEN];
        let Some(first) = self.first.as_ref().filter(|_| self.parts.len() > 1) else {
            return (bytes, None);
        };
        let tcp = first.header.len() - first.ip + self.payload;
        let mut header = first.header.to_vec();
        let mut put = |at: usize, value: u16| {
            if let Some(field) = header.get_mut(at..at + 2) {
                field.copy_from_slice(&value.to_be_bytes());
            }
        };
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        if first.is_v6 {
            put(4, short(tcp));
        } else {
            put(2, short(first.ip + tcp));
            put(10, 0);
        }
        put(first.ip + 16, fold(first.of_addresses(tcp)));
        if let Some(flags) = header.get_mut(first.ip + 13) {
            *flags |= self.last_flags & PUSH;
        }
        if !first.is_v6 {
            let sum = !fold(add(0, header.get(..20).unwrap_or_default()));
            if let Some(field) = header.get_mut(10..12) {
                field.copy_from_slice(&sum.to_be_bytes());
            }
        }
        let head = VirtioNetHdr {
            flags: NEEDS_SUM,
            gso_type: if first.is_v6 {
                VIRTIO_NET_HDR_GSO_TCPV6
            } else {
                VIRTIO_NET_HDR_GSO_TCPV4
            },
            hdr_len: short(header.len()),
            gso_size: short(first.payload.len()),
            csum_start: short(first.ip),
            csum_offset: 16,
        };
        // There is room for it.
        let _ = head.encode(&mut bytes);
        (bytes, Some(header))
    }
}

/// Shows what is to be written for packets, in an order that keeps that of each flow. `write` says whether it was taken;
/// of a train that is not, its packets are shown one by one, and trains are given up.
pub(super) fn join<'p>(
    packets: impl Iterator<Item = &'p [u8]>,
    may_join: &mut bool,
    mut write: impl FnMut(&[IoSlice<'_>]) -> bool,
) {
    let mut trains: Vec<Train<'p>> = Vec::new();
    for packet in packets {
        let segment = may_join.then(|| Segment::read(packet)).flatten();
        let taken = segment.is_some_and(|segment| {
            let of = |train: &&mut Train<'p>| {
                train
                    .first
                    .as_ref()
                    .is_some_and(|first| segment.is_of(first))
            };
            let last = trains.iter_mut().rev().take(MAX_OPEN).find(of);
            last.is_some_and(|train| train.takes(packet, &segment))
        });
        if !taken {
            trains.push(Train::new(packet));
        }
    }
    let alone = [0; VIRTIO_NET_HDR_LEN];
    for train in &trains {
        let (head, header) = train.heads();
        let mut slices = vec![IoSlice::new(&head)];
        match (&header, &train.first) {
            (Some(header), Some(first)) => {
                slices.push(IoSlice::new(header));
                slices.push(IoSlice::new(first.payload));
                slices.extend(train.parts.iter().skip(1).map(|part| IoSlice::new(part)));
            }
            _ => slices.extend(train.parts.iter().map(|part| IoSlice::new(part))),
        }
        if !write(&slices) && header.is_some() {
            *may_join = false;
            for packet in &train.packets {
                let _ = write(&[IoSlice::new(&alone), IoSlice::new(packet)]);
            }
        }
    }
}

const GSO_NONE: u8 = 0;
const GSO_UDP: u8 = 5;
const GSO_ECN: u8 = 0x80;
const NEEDS_SUM: u8 = 1;
const TCP: u8 = 6;
const ACK: u8 = 0x10;
const PUSH: u8 = 0x08;
/// Most packets of one read.
//= C7
const MAX_PIECES: usize = 2048;
/// Most packets of one write: what the kernel takes at once, and the heads.
const MAX_PARTS: usize = 64;
/// Among so many of the newest trains a packet looks for its own.
const MAX_OPEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment of TCP with a right sum.
    fn segment(is_v6: bool, port: u16, sequence: u32, flags: u8, length: usize) -> Vec<u8> {
        let tcp = 32 + length;
        let mut packet = if is_v6 {
            let mut head = vec![0x60, 0, 0, 0, 0, 0, TCP, 64];
            head[4..6].copy_from_slice(&u16::try_from(tcp).unwrap().to_be_bytes());
            head.extend([0xfd; 16]);
            head.extend([0xfe; 16]);
            head
        } else {
            let mut head = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, TCP, 0, 0];
            head[2..4].copy_from_slice(&u16::try_from(tcp + 20).unwrap().to_be_bytes());
            head.extend([10, 0, 0, 1, 10, 0, 0, 2]);
            let sum = !fold(add(0, &head));
            head[10..12].copy_from_slice(&sum.to_be_bytes());
            head
        };
        let ip = packet.len();
        packet.extend(port.to_be_bytes());
        packet.extend([0, 80]);
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0x80, flags, 1, 0, 0, 0, 0, 0]);
        packet.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend((0..length).map(|at| (at * 7 + usize::from(port)).to_le_bytes()[0]));
        let addresses = if is_v6 { 8..40 } else { 12..20 };
        let pseudo = add(u64::try_from(tcp).unwrap() + 6, &packet[addresses]);
        let sum = !fold(add(pseudo, &packet[ip..]));
        packet[ip + 16..ip + 18].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// What is written for packets.
    fn written(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        join(packets.iter().map(Vec::as_slice), &mut true, |slices| {
            all.push(slices.iter().flat_map(|slice| slice.to_vec()).collect());
            true
        });
        all
    }

    fn cut_again(written: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut batch = Batch::new();
        for one in written {
            cut(&mut one.clone(), &mut batch).unwrap();
        }
        let packets = batch.iter().map(|(packet, ())| packet.to_vec());
        packets.collect()
    }

    /// Without the number for fragments and the sum over it.
    fn plain(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        for packet in &mut packets {
            if packet[0] == 0x45 {
                packet[4..6].fill(0);
                packet[10..12].fill(0);
            }
        }
        packets
    }

    #[test]
    fn a_train_is_one_write_and_the_same_packets_again() {
        for is_v6 in [false, true] {
            let mut packets: Vec<Vec<u8>> = (0..20)
                .map(|number| segment(is_v6, 1, 1000 + number * 1000, ACK, 1000))
                .collect();
            packets.push(segment(is_v6, 1, 21_000, ACK | PUSH, 77));
            let joined = written(&packets);
            assert_eq!(joined.len(), 1);
            assert_eq!(plain(cut_again(&joined)), plain(packets));
        }
    }

    #[test]
    fn two_who_speak_at_once_are_two_trains() {
        let packets: Vec<Vec<u8>> = (0..10)
            .flat_map(|number| [1, 2].map(|port| segment(false, port, number * 500, ACK, 500)))
            .collect();
        let joined = written(&packets);
        assert_eq!(joined.len(), 2);
        let again = plain(cut_again(&joined));
        for port in [1, 2] {
            let of = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                let of = packets.iter().filter(|packet| packet[21] == port);
                of.cloned().collect()
            };
            assert_eq!(of(&again), of(&plain(packets.clone())));
        }
    }

    #[test]
    fn what_would_not_be_the_same_again_stays_alone() {
        let first = segment(false, 1, 0, ACK, 100);
        let good = segment(false, 1, 100, ACK, 100);
        assert_eq!(written(&[first.clone(), good.clone()]).len(), 1);
        let changed = |at: usize, to: u8| {
            let mut packet = good.clone();
            packet[at] = to;
            packet
        };
        let with_sum = |mut packet: Vec<u8>| {
            packet[36..38].fill(0);
            let pseudo = add(132 + 6, &packet[12..20]);
            let sum = !fold(add(pseudo, &packet[20..]));
            packet[36..38].copy_from_slice(&sum.to_be_bytes());
            packet
        };
        for (what, other) in [
            ("a gap", segment(false, 1, 101, ACK, 100)),
            ("longer", segment(false, 1, 100, ACK, 101)),
            ("nothing in it", segment(false, 1, 100, ACK, 0)),
            ("the end", segment(false, 1, 100, ACK | 1, 100)),
            ("another port", segment(false, 2, 100, ACK, 100)),
            ("a wrong sum", changed(60, 0xff)),
            ("another window", with_sum(changed(34, 9))),
            ("another time stamp", with_sum(changed(47, 9))),
            ("another hop limit", changed(8, 9)),
            ("a fragment", changed(6, 0x20)),
            ("another protocol", changed(9, 17)),
            ("not whole", good[..good.len() - 1].to_vec()),
        ] {
            let packets = [first.clone(), other];
            let alone = written(&packets);
            assert_eq!(alone.len(), 2, "{what}");
            assert_eq!(cut_again(&alone), packets, "{what}");
        }
        let after = [
            segment(false, 1, 0, ACK | PUSH, 100),
            segment(false, 1, 100, ACK, 100),
        ];
        assert_eq!(written(&after).len(), 2, "after the mark of a last one");
    }

    #[test]
    fn a_kernel_that_takes_no_trains_gets_the_packets() {
        let packets = [
            segment(false, 1, 0, ACK, 100),
            segment(false, 1, 100, ACK, 100),
        ];
        let (mut may_join, mut got) = (true, Vec::new());
        join(packets.iter().map(Vec::as_slice), &mut may_join, |slices| {
            let is_train = slices.len() > 2;
            if !is_train {
                got.push(slices[1].to_vec());
            }
            !is_train
        });
        assert!(!may_join);
        assert_eq!(got, packets);
        assert_eq!(written(&[]).len(), 0);
    }

    #[test]
    fn what_the_kernel_would_not_give_is_refused_and_sums_are_finished() {
        let whole = segment(false, 1, 0, ACK, 100);
        let mut read = vec![NEEDS_SUM, GSO_NONE, 0, 0, 0, 0, 20, 0, 16, 0];
        read.extend(&whole);
        let pseudo = fold(add(132 + 6, &whole[12..20]));
        read[46..48].copy_from_slice(&pseudo.to_be_bytes());
        let mut batch = Batch::new();
        cut(&mut read, &mut batch).unwrap();
        assert_eq!(batch.iter().next().unwrap().0, whole);
        let good = written(&[whole, segment(false, 1, 100, ACK, 100)]).remove(0);
        assert!(cut(&mut good.clone(), &mut batch).is_ok());
        for (at, value) in [(1, 77), (1, VIRTIO_NET_HDR_GSO_TCPV6), (8, 3)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(cut(&mut bad, &mut batch).is_err(), "{at} {value}");
        }
        for length in 0..40 {
            assert!(
                cut(&mut good.clone()[..length], &mut batch).is_err(),
                "{length}"
            );
        }
    }
}
