//! The key of an authority cannot be reached.

use super::office::World;
use super::world::new_request;
use crate::pki::message::{IssuedCertificate, Question, Refusal, Which};

/// Whoever is in stays in while the token is away, also over a restart; whoever is revoked meanwhile does not.
//= C9
#[test]
fn trust_needs_no_token() {
    let mut world = World::new();
    let [one, two] = ["ecg-1", "ecg-2"].map(|name| world.issue(name, new_request()).unwrap());
    let revoked = |world: &mut World, one: &IssuedCertificate| {
        let serials = world.revoke(Which::Serial(one.serial)).unwrap();
        assert_eq!(serials, [one.serial]);
    };
    revoked(&mut world, &one);
    let before = world.trust();
    assert!(before.revoked.is_empty(), "the list says it");
    // As if the key had been in a token, which is not configured any more.
    world.office = None;
    let path = world.settings.directory.join("state.json");
    let mut state: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    state["authorities"][0]["place"] =
        serde_json::json!({ "token": "away", "key": "lazaret-ca-00000000000000a1" });
    std::fs::write(&path, state.to_string()).unwrap();
    world.again();
    let trust = world.trust();
    assert_eq!(trust.lists, before.lists);
    assert_eq!(trust.revoked, [one.serial]);
    revoked(&mut world, &two);
    world.again();
    let mut serials = world.trust().revoked;
    serials.sort_unstable();
    let mut both = [one.serial, two.serial];
    both.sort_unstable();
    assert_eq!(serials, both);
    let refusal = world.ask(Question::Lists).unwrap_err();
    assert_eq!(refusal, Refusal::OtherToken("away".to_owned()));
    // Without the list there is nobody to believe.
    world.office = None;
    let lists = std::fs::read_dir(&world.settings.directory).unwrap();
    for entry in lists.flatten() {
        if entry.path().extension().is_some_and(|kind| kind == "crl") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    world.again();
    world.ask(Question::Trust).unwrap_err();
}
