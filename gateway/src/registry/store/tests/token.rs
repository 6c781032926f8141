//! Tokens on every database.

use std::net::IpAddr;

use super::suite::{add, device};
use super::*;
use crate::registry::token::{BearerKey, NewToken, Redemption, Terms, TokenHash};

fn hash(number: u8) -> TokenHash {
    TokenHash([number; 32])
}

fn new(number: u8) -> NewToken {
    NewToken {
        hash: hash(number),
        terms: Terms {
            roles: ["ecg".parse().unwrap()].into(),
            device: Some(name("ecg-1")),
            serial: Some("SN-1".to_owned()),
            patients: vec![format!("hmac:{}", "5f".repeat(32))],
            hl7_sender: Some("ECG^HOME".to_owned()),
            ae_title: None,
            approve: true,
        },
        why: "trial".to_owned(),
        by: by(),
        at: at(0),
        expires: at(900),
    }
}

fn redemption(number: u8, who: u16, seconds: i64) -> Redemption {
    let mut newcomer = newcomer(&format!("ecg-{who}"), who);
    newcomer.mark = 90_000 + i64::from(who);
    newcomer.known.serial = None;
    Redemption {
        hash: hash(number),
        key: BearerKey::Wireguard(key(who)),
        newcomer,
        at: at(seconds),
    }
}

async fn redeem(store: &Store, redemption: &Redemption) -> Result<(), StoreError> {
    store.redeem(redemption, pool()).await
}

pub(super) async fn used_once(store: &Store) {
    assert_eq!(store.token(&hash(1)).await.unwrap(), None);
    store.keep_token(&new(1)).await.unwrap();
    let kept = store.token(&hash(1)).await.unwrap().unwrap();
    assert_eq!(
        (&kept.terms, kept.id.as_str()),
        (&new(1).terms, "010101010101")
    );
    assert_eq!(
        (kept.used.clone(), kept.revoked, kept.expires),
        (None, None, at(900))
    );
    // A device that cannot be leaves the token as it was.
    add(store, &[newcomer("ecg-7", 7)]).await.unwrap();
    let mut taken = redemption(1, 8, 10);
    taken.newcomer.known.keys[0].wireguard = key(7);
    let error = redeem(store, &taken).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error}");
    assert_eq!(store.token(&hash(1)).await.unwrap(), Some(kept));
    redeem(store, &redemption(1, 9, 10)).await.unwrap();
    let used = store.token(&hash(1)).await.unwrap().unwrap().used.unwrap();
    assert_eq!((used.device, used.at), (name("ecg-9"), at(10)));
    assert_eq!(used.key, BearerKey::Wireguard(key(9)).text());
    assert_eq!(device(store, "ecg-9").await.addresses.len(), 1);
    let story = store.story(&name("ecg-9")).await.unwrap();
    assert_eq!(story[0].what, "enrolled");
    for seconds in [11, 899] {
        let again = redeem(store, &redemption(1, 10, seconds)).await;
        assert!(matches!(again, Err(StoreError::Spent)));
    }
    assert_eq!(store.load().await.unwrap().devices.len(), 2);
}

pub(super) async fn late_revoked_and_foreign(store: &Store) {
    store.keep_token(&new(1)).await.unwrap();
    store.keep_token(&new(2)).await.unwrap();
    let late = redeem(store, &redemption(1, 1, 900)).await;
    assert!(matches!(late, Err(StoreError::Spent)));
    redeem(store, &redemption(1, 1, 899)).await.unwrap();
    let foreign = redeem(store, &redemption(3, 3, 10)).await;
    assert!(matches!(foreign, Err(StoreError::Spent)));
    let id = hash(2).id();
    store.revoke_token(&id, at(5)).await.unwrap();
    let revoked = redeem(store, &redemption(2, 2, 10)).await;
    assert!(matches!(revoked, Err(StoreError::Spent)));
    for id in [id, hash(1).id(), hash(3).id()] {
        let again = store.revoke_token(&id, at(6)).await;
        assert!(matches!(again, Err(StoreError::NoToken)), "{id}");
    }
    let all = store.tokens().await.unwrap();
    let all: Vec<_> = all
        .iter()
        .map(|one| (one.used.is_some(), one.revoked))
        .collect();
    assert_eq!(all, [(true, None), (false, Some(at(5)))]);
    // What ended long ago is forgotten.
    let mut last = new(4);
    (last.at, last.expires) = (at(91 * 86_400), at(92 * 86_400));
    store.keep_token(&last).await.unwrap();
    assert_eq!(store.tokens().await.unwrap().len(), 1);
}

/// One that is open in a copy may have been used or taken back since the copy was made.
//= C5
pub(super) async fn of_an_older_copy(store: &Store, place: &Place) {
    for number in 1..=2 {
        store.keep_token(&new(number)).await.unwrap();
    }
    redeem(store, &redemption(1, 1, 10)).await.unwrap();
    let before = store.token(&hash(1)).await.unwrap();
    let known = store.load().await.unwrap().devices;
    let known: Vec<_> = known.into_iter().collect();
    let adopted = Store::adopt(place, 43, &known).await.unwrap();
    assert_eq!(adopted.token(&hash(1)).await.unwrap(), before);
    let again = redeem(&adopted, &redemption(2, 2, 10)).await;
    assert!(matches!(again, Err(StoreError::Spent)), "{again:?}");
    let open = adopted.token(&hash(2)).await.unwrap().unwrap();
    assert_eq!(open.revoked, Some(open.created));
    // Who is made after it is as good as ever.
    adopted.keep_token(&new(3)).await.unwrap();
    redeem(&adopted, &redemption(3, 3, 10)).await.unwrap();
    adopted.close().await;
}

/// The key of a certificate is one device's, like that of a tunnel.
//= C5
pub(super) async fn one_certificate_key_one_device(store: &Store) {
    let with = |number, who: u16, fingerprint: &str| {
        let mut redemption = redemption(number, who, 10);
        redemption.newcomer.known.keys.clear();
        redemption.newcomer.known.certificates = vec![fingerprint.repeat(32)];
        redemption.key = BearerKey::Certificate(fingerprint.repeat(32));
        redemption
    };
    for number in 1..=3 {
        store.keep_token(&new(number)).await.unwrap();
    }
    redeem(store, &with(1, 1, "aa")).await.unwrap();
    let taken = redeem(store, &with(2, 2, "aa")).await.unwrap_err();
    assert!(matches!(taken, StoreError::Refused(_)), "{taken}");
    redeem(store, &with(2, 2, "bb")).await.unwrap();
    let known = device(store, "ecg-2").await;
    assert!(known.keys.is_empty());
    assert_eq!(known.certificates, ["bb".repeat(32)]);
    // It lives in the other tunnel.
    assert_eq!(known.addresses, ["10.65.1.2".parse::<IpAddr>().unwrap()]);
}

/// Two tokens, each wanted 1,000 times at once through two gateways: one device of each.
pub(super) async fn races(store: &Store, place: &Place) {
    const TOKENS: u16 = 2;
    const RACERS: u16 = 1000;
    let other = Store::open(place, Some(store.version().await.unwrap()), 43)
        .await
        .unwrap();
    let token = |number: u16| {
        let mut token = new(0);
        token.hash.0[..2].copy_from_slice(&number.to_be_bytes());
        token
    };
    let mut winners = 0;
    for number in 0..TOKENS {
        let token = token(number);
        store.keep_token(&token).await.unwrap();
        let race = |who: u16| {
            let mut redemption = redemption(0, 1000 + number * RACERS + who, 10);
            redemption.hash = token.hash;
            redemption
        };
        let races: Vec<_> = (0..RACERS).map(race).collect();
        let racing = races.iter().enumerate().map(|(at, race)| {
            let store = if at % 2 == 0 { store } else { &other };
            redeem(store, race)
        });
        let results = futures_util::future::join_all(racing).await;
        let won = results.iter().filter(|result| result.is_ok()).count();
        let spent = |result: &&Result<(), StoreError>| matches!(result, Err(StoreError::Spent));
        assert_eq!(
            (won, results.iter().filter(spent).count()),
            (1, usize::from(RACERS) - 1)
        );
        winners += won;
    }
    assert_eq!(store.load().await.unwrap().devices.len(), winners);
    other.close().await;
}
