//! Probes through a relay in this process: the same sessions, the same pump.
#![allow(clippy::disallowed_methods, reason = "tests make up their time")]

use std::os::fd::AsFd;
use std::sync::Arc;

use super::*;
use crate::channel::{self, Channel};
use crate::daemon::clock::SystemClock;
use crate::daemon::sessions::sessions;
use crate::forward::message::FromRelay;
use crate::forward::worker;
use crate::inspect::ConnectionPolicy;

type Supervised = Channel<ToRelay, FromRelay>;

/// What the players say, and whether the relay wanted the hospital. `spoil` may change the policy.
async fn played(
    policy: ConnectionPolicy,
    play: impl AsyncFnOnce(Ends) -> Result<(), String>,
) -> (Result<(), String>, bool) {
    let (ours, theirs) = channel::pair().unwrap();
    let relay = async {
        let channel = Channel::new(theirs).unwrap();
        worker::run(channel, Arc::new(SystemClock), sessions()).await
    };
    let supervisor = async {
        let channel = Supervised::new(ours).unwrap();
        let start = ToRelay::Start {
            connections: 1,
            memory: 1 << 24,
            relays: 1,
        };
        channel.send(&start, &[]).await.unwrap();
        let (device, for_relay) = pair().unwrap();
        let (hospital, for_later) = pair().unwrap();
        let id = ConnectionId(u64::MAX - 1);
        let open = ToRelay::Open {
            id,
            subject: NOBODY,
            exchange: NOBODY,
            policy: Box::new(policy),
        };
        channel.send(&open, &[for_relay.as_fd()]).await.unwrap();
        drop(for_relay);
        let mut later = Some(for_later);
        let answer = async {
            loop {
                match channel.receive().await.unwrap() {
                    (FromRelay::Connect { id }, _) => {
                        let end = later.take().unwrap();
                        let upstream = ToRelay::Upstream { id };
                        channel.send(&upstream, &[end.as_fd()]).await.unwrap();
                    }
                    (FromRelay::Closed { .. }, _) => return later.is_none(),
                    _ => {}
                }
            }
        };
        let (result, wanted) = tokio::join!(play(Ends { device, hospital }), answer);
        channel.send(&ToRelay::Drain, &[]).await.unwrap();
        (result, wanted)
    };
    let both = async { tokio::join!(relay, supervisor) };
    let (ended, result) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    ended.unwrap();
    result
}

#[tokio::test]
async fn a_message_passes_and_one_of_a_stranger_does_not() {
    let play = async |ends: Ends| ends.hl7(1, Wanted::Passage).await;
    assert_eq!(played(words::hl7_policy(), play).await, (Ok(()), true));
    let play = async |ends: Ends| ends.hl7(1, Wanted::Refusal).await;
    assert_eq!(played(words::hl7_policy(), play).await, (Ok(()), false));
}

#[tokio::test]
async fn an_echo_passes_and_a_stranger_gets_no_association() {
    let play = async |ends: Ends| ends.dicom(Wanted::Passage).await;
    assert_eq!(played(words::dicom_policy(), play).await, (Ok(()), true));
    let play = async |ends: Ends| ends.dicom(Wanted::Refusal).await;
    assert_eq!(played(words::dicom_policy(), play).await, (Ok(()), false));
}

/// A relay that lets everything through, and one that lets nothing through, are both found.
#[tokio::test]
async fn a_relay_that_judges_wrongly_is_found() {
    let mut open = words::hl7_policy();
    let mut shut = words::hl7_policy();
    for (policy, bind, send) in [(&mut open, false, "ORU^R01"), (&mut shut, true, "ADT^A01")] {
        if let crate::inspect::ProtocolPolicy::Hl7(hl7) = &mut policy.protocol {
            hl7.rules[0].bind_sender = bind;
            hl7.rules[0].send = vec![send.to_owned()];
        }
    }
    let impatient = async |ends: Ends, wanted| {
        let play = ends.hl7(1, wanted);
        let result = tokio::time::timeout(Duration::from_millis(500), play).await;
        result.unwrap_or(Err("no answer".to_owned()))
    };
    let play = async |ends: Ends| impatient(ends, Wanted::Refusal).await;
    let (result, wanted) = played(open, play).await;
    assert!(result.is_err() && wanted);
    let play = async |ends: Ends| impatient(ends, Wanted::Passage).await;
    let (result, wanted) = played(shut, play).await;
    assert!(result.is_err() && !wanted);
}
