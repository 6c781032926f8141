//! A relay whose supervisor does not say that its decisions are recorded.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::message::{FromRelay, MOST_UNRECORDED, ToRelay};
use super::script::{Supervisor, policy, with_relay};
use crate::inspect::EndReason;

/// A device that has so many lines refused, one after the other, for as long as it is answered.
async fn flood(mut device: TcpStream, lines: u64) -> u64 {
    let mut answered = 0;
    let mut answer = [0; 4];
    while answered < lines {
        device.write_all(b"bad\n").await.unwrap();
        match device.read_exact(&mut answer).await {
            Ok(_) if answer == *b"NAK\n" => answered += 1,
            Ok(_) | Err(_) => break,
        }
    }
    answered
}

/// The decisions until the connection is closed; `told` hears of them.
async fn decisions(supervisor: &Supervisor, mut told: impl AsyncFnMut(u64)) -> u64 {
    let mut decisions = 0;
    loop {
        match supervisor.hear().await {
            FromRelay::Decided(some) => {
                decisions += some.len() as u64;
                told(decisions).await;
            }
            FromRelay::Closed { .. } => return decisions,
            other @ (FromRelay::Ready
            | FromRelay::Connect { .. }
            | FromRelay::Spool { .. }
            | FromRelay::Keep { .. }) => panic!("{other:?}"),
        }
    }
}

//= C8
//= C9
#[tokio::test]
async fn a_relay_that_is_ahead_begins_nothing_new_and_still_does_as_it_is_told() {
    let whole = with_relay(9, 1 << 30, async |supervisor| {
        let (id, device) = supervisor.open(policy()).await;
        let lines = 2 * MOST_UNRECORDED;
        let why = EndReason::Killed;
        let made = decisions(supervisor, async |made| {
            if made == MOST_UNRECORDED {
                supervisor.tell(ToRelay::Close { id, why }, &[]).await;
            }
        });
        let (answered, made) = tokio::join!(flood(device, lines), made);
        assert_eq!((answered, made), (MOST_UNRECORDED, MOST_UNRECORDED));
        supervisor.tell(ToRelay::Drain, &[]).await;
    });
    whole.await.unwrap();
}

//= C8
#[tokio::test]
async fn a_relay_goes_on_when_the_journal_caught_up_and_loses_nothing() {
    let whole = with_relay(9, 1 << 30, async |supervisor| {
        let (_, device) = supervisor.open(policy()).await;
        let lines = 3 * MOST_UNRECORDED;
        let made = decisions(supervisor, async |made| {
            // Late each time: the relay stands still by then.
            if made.is_multiple_of(MOST_UNRECORDED) {
                let decisions = made;
                supervisor.tell(ToRelay::Recorded { decisions }, &[]).await;
            }
        });
        let (answered, made) = tokio::join!(flood(device, lines), made);
        assert_eq!((answered, made), (lines, lines));
        supervisor.tell(ToRelay::Drain, &[]).await;
    });
    whole.await.unwrap();
}
