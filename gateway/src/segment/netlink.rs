//! One netfilter transaction on a socket of its own.
//!
//! In: the bytes of a batch and what each message is about. Out: the kernel's one answer.
//! Knows nothing of tables.

use std::io::{self, Read};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::segment::SegmentError;

/// Sends a batch whole and waits for the answer.
///
/// `labels` says what the messages between the begin and the end of the batch are about.
pub(super) fn transact(mut batch: Vec<u8>, labels: &[String]) -> Result<(), SegmentError> {
    thin_acks(&mut batch);
    let socket = open().map_err(SegmentError::Socket)?;
    let buffer = raise(&socket, batch.len()).map_err(SegmentError::Socket)?;
    if batch.len() > buffer {
        return Err(SegmentError::TooLarge {
            batch: batch.len(),
            buffer,
        });
    }
    match socket.send(&batch) {
        Ok(sent) if sent == batch.len() => {}
        Ok(_) => return Err(SegmentError::Send(io::ErrorKind::WriteZero.into())),
        Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) => {
            return Err(SegmentError::TooLarge {
                batch: batch.len(),
                buffer,
            });
        }
        Err(e) => return Err(SegmentError::Send(e)),
    }
    let mut answer = vec![0u8; MAX_ANSWER];
    let length = (&socket)
        .read(&mut answer)
        .map_err(SegmentError::NoAnswer)?;
    judge(answer.get(..length).unwrap_or_default(), labels)
}

fn open() -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_NETFILTER)),
    )?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(socket)
}

/// Makes room for a batch as far as the kernel lets us, and says how much there is.
fn raise(socket: &Socket, batch: usize) -> io::Result<usize> {
    let usable = |socket: &Socket| {
        let size = socket.send_buffer_size()?;
        Ok::<_, io::Error>(size.saturating_sub(BUFFER_OVERHEAD))
    };
    if usable(socket)? < batch {
        let wanted = batch.saturating_add(BUFFER_OVERHEAD);
        // Refused in a user namespace; there the system's maximum must do.
        if rustix::net::sockopt::set_socket_send_buffer_size_force(socket, wanted).is_err() {
            socket.set_send_buffer_size(wanted)?;
        }
    }
    usable(socket)
}

/// Asks for an answer to the last message only. With one for each, the receive buffer would overflow
/// and a transaction that was committed would look refused. Errors are told without being asked for.
fn thin_acks(batch: &mut [u8]) {
    let mut last = None;
    let mut at = 0usize;
    while let Some(header) = batch.get_mut(at..).and_then(|rest| rest.get_mut(..HEADER)) {
        let length = u32_at(header, 0) as usize;
        if length < HEADER {
            break;
        }
        set_flag(header, false);
        if u16_at(header, 4) >> 8 == NFTABLES {
            last = Some(at);
        }
        at += length.next_multiple_of(4);
    }
    if let Some(header) = last.and_then(|at| batch.get_mut(at..)) {
        set_flag(header, true);
    }
}

fn set_flag(header: &mut [u8], on: bool) {
    let flags = u16_at(header, 6);
    let flags = if on { flags | ACK } else { flags & !ACK };
    if let Some(bytes) = header.get_mut(6..8) {
        bytes.copy_from_slice(&flags.to_ne_bytes());
    }
}

fn judge(answer: &[u8], labels: &[String]) -> Result<(), SegmentError> {
    if answer.len() < HEADER + 4 || u16_at(answer, 4) != ERROR {
        return Err(SegmentError::Answer);
    }
    let code = u32_at(answer, HEADER).cast_signed();
    if code == 0 {
        return Ok(());
    }
    // The begin of the batch has number 0.
    let number = u32_at(answer, 8) as usize;
    let what = number.checked_sub(1).and_then(|i| labels.get(i));
    Err(SegmentError::Refused {
        what: what.cloned().unwrap_or_else(|| "the table".to_owned()),
        source: io::Error::from_raw_os_error(code.saturating_neg()),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u16::from_ne_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_ne_bytes(*field))
}

/// Length of `nlmsghdr`.
const HEADER: usize = 16;
/// `NLM_F_ACK`.
const ACK: u16 = 4;
/// `NLMSG_ERROR`, also the form of an acknowledgement.
const ERROR: u16 = 2;
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
/// What the kernel keeps of the send buffer for itself.
const BUFFER_OVERHEAD: usize = 32;
/// Longest answer.
const MAX_ANSWER: usize = 65_536;
/// A commit takes milliseconds, on a busy machine with a large table a second.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = 20u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(5u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    #[test]
    fn only_the_last_message_is_acknowledged() {
        let mut batch = [
            message(16, 0),
            message(0xa00, 1),
            message(0xa01, 2),
            message(17, 3),
        ]
        .concat();
        thin_acks(&mut batch);
        let flags: Vec<u16> = (0..4).map(|i| u16_at(&batch, i * 20 + 6)).collect();
        assert_eq!(flags, [1, 1, 5, 1]);
    }

    #[test]
    fn a_refusal_names_the_object_and_an_answer_of_zero_is_success() {
        let answer = |code: i32| {
            let mut bytes = message(ERROR, 2);
            bytes[16..20].copy_from_slice(&code.to_ne_bytes());
            bytes
        };
        let labels = ["table".to_owned(), "set a".to_owned()];
        assert!(judge(&answer(0), &labels).is_ok());
        let refused = judge(&answer(-17), &labels).unwrap_err();
        assert_eq!(refused.to_string(), "the kernel refuses set a");
        assert!(matches!(
            judge(&[0; 12], &labels),
            Err(SegmentError::Answer)
        ));
    }
}
