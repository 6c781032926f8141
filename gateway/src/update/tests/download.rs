//! Downloads from servers that are good, broken, slow, or hostile.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::certificate;
use super::server::{Reply, Request, Server, bare, files, whole};
use super::world::{World, code};
use crate::update::https::{Https, Patience};
use crate::update::source::{FetchError, Source};

fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        silence: Duration::from_millis(300),
        answer: Duration::from_secs(5),
    }
}

fn client(server: &Server) -> Https {
    Https::new(&server.url(), None, Path::new("/nonexistent"), patience()).unwrap()
}

/// A server that spoils what a good one answers for the root file system.
fn spoiled(
    world: &World,
    spoil: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> (Server, String) {
    let release = world.release("2");
    let name = release.name("root");
    let (good, root) = (files(release.folder, "\"t1\""), name.clone());
    let server = Server::start(move |request| {
        let reply = good(request);
        if request.name == root {
            spoil(request, reply)
        } else {
            reply
        }
    });
    (server, name)
}

fn half(mut reply: Reply) -> Reply {
    reply.body.truncate(reply.body.len() / 2);
    reply
}

#[test]
fn a_broken_line_is_resumed_where_it_broke() {
    let world = World::new();
    let spoil = |request: &Request, reply| {
        if request.number < 3 {
            half(reply)
        } else {
            reply
        }
    };
    let (server, root) = spoiled(&world, spoil);
    assert_eq!(code(world.apply(&mut client(&server))), "taken");
    let requests = server.requests.lock().unwrap().clone();
    let from: Vec<Option<u64>> = (requests.iter())
        .filter(|request| request.name == root)
        .map(|request| request.from)
        .collect();
    assert_eq!(from, [None, Some(350_000), Some(525_000), Some(612_500)]);
}

#[test]
fn a_download_is_resumed_by_the_next_run() {
    let world = World::new();
    let (server, root) = spoiled(&world, |request, reply| match request.number {
        0 => half(reply),
        1..5 => bare("503 Service Unavailable", ""),
        _ => reply,
    });
    assert_eq!(code(world.apply(&mut client(&server))), "fetch");
    assert_eq!(server.count(&root), 5);
    assert_eq!(code(world.apply(&mut client(&server))), "taken");
    let requests = server.requests.lock().unwrap().clone();
    assert_eq!(requests.last().unwrap().name, "lazaret_2.efi");
    let resumed = requests.iter().rfind(|request| request.name == root);
    assert_eq!(resumed.unwrap().from, Some(350_000));
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_again_from_its_beginning() {
    let world = World::new();
    let release = world.release("2");
    let (root, folder) = (release.name("root"), release.folder);
    let (first, second) = (files(folder.clone(), "\"t1\""), files(folder, "\"t2\""));
    let name = root.clone();
    let server = Server::start(move |request| {
        if request.name == name && request.number == 0 {
            let mut reply = half(first(request));
            reply.body.fill(b'?');
            return reply;
        }
        second(request)
    });
    assert_eq!(code(world.apply(&mut client(&server))), "taken");
    let requests = server.requests.lock().unwrap().clone();
    let again = requests
        .iter()
        .rfind(|request| request.name == root)
        .unwrap();
    assert_eq!(again.if_range.as_deref(), Some("\"t1\""));
    assert_eq!(server.count(&root), 2);
}

#[test]
fn a_wrong_file_is_fetched_once_more_and_then_given_up() {
    for (spoil, expected) in [
        ("byte", "tampered"),
        ("cut", "wrong-length"),
        ("long", "wrong-length"),
    ] {
        for (heals, expected) in [(true, "taken"), (false, expected)] {
            let world = World::new();
            let (server, root) = spoiled(&world, move |request, reply| {
                if heals && request.number > 0 {
                    return reply;
                }
                let mut body = reply.body;
                match spoil {
                    "byte" => body[9] ^= 1,
                    "cut" => body.truncate(9),
                    _ => body.push(0),
                }
                whole("", body)
            });
            assert_eq!(code(world.apply(&mut client(&server))), expected, "{spoil}");
            assert_eq!(server.count(&root), 2);
        }
    }
}

#[test]
fn a_server_cannot_hold_us_up() {
    for (what, expected) in [
        ("silent before the head", "fetch"),
        ("silent in the body", "fetch"),
        ("endless body", "wrong-length"),
        ("endless head", "fetch"),
        ("more than asked", "tampered"),
    ] {
        let world = World::new();
        let (server, _) = spoiled(&world, move |_, reply| match what {
            "silent before the head" => Reply {
                silent: true,
                ..Reply::default()
            },
            "silent in the body" => Reply {
                silent: true,
                body: reply.body[..1000].to_vec(),
                ..reply
            },
            "endless body" => Reply {
                head: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
                endless: true,
                ..Reply::default()
            },
            "endless head" => Reply {
                head: "HTTP/1.1 200 OK\r\nX: ".to_owned(),
                endless: true,
                ..Reply::default()
            },
            _ => Reply {
                head: reply.head.replace("200 OK", "200 OK\r\nETag: W/\"weak\""),
                body: vec![b'z'; 2_000_000],
                ..reply
            },
        });
        assert_eq!(code(world.apply(&mut client(&server))), expected, "{what}");
        assert_eq!(world.entries(), ["lazaret_1.efi"], "{what}");
    }
}

#[test]
fn nobody_is_followed_elsewhere() {
    let world = World::new();
    let elsewhere = Server::start(files(world.release("2").folder, "\"t\""));
    let there = elsewhere.url();
    let server = Server::start(move |request| {
        bare(
            "302 Found",
            &format!("Location: {there}{}\r\n", request.name),
        )
    });
    let error = client(&server)
        .open("manifest.json", 0, None)
        .err()
        .unwrap();
    assert!(matches!(error, FetchError::Redirect(_)), "{error}");
    assert!(elsewhere.requests.lock().unwrap().is_empty());
    assert_eq!(code(world.apply(&mut client(&elsewhere))), "taken");
}

#[test]
fn a_manifest_without_an_end_is_refused() {
    let world = World::new();
    let server = Server::start(|_| Reply {
        head: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        endless: true,
        ..Reply::default()
    });
    assert_eq!(
        code(world.updater.check(&mut client(&server))),
        "manifest-too-long"
    );
    let missing = Server::start(|_| bare("404 Not Found", ""));
    assert_eq!(code(world.updater.check(&mut client(&missing))), "fetch");
}

#[test]
fn the_hospitals_root_is_trusted_and_no_other() {
    let world = World::new();
    let release = world.release("2");
    let (ours, config) = certificate::server(7);
    let (theirs, _) = certificate::server(8);
    let server = Server::start_tls(config, files(release.folder, "\"t\""));
    let url = format!("https://localhost:{}/", server.address.port());
    let root = world.machine.path().join("root.pem");
    let nowhere = Path::new("/nonexistent");
    fs::write(&root, theirs).unwrap();
    let mut client = Https::new(&url, Some(&root), nowhere, patience()).unwrap();
    assert_eq!(code(world.updater.check(&mut client)), "fetch");
    fs::write(&root, &ours).unwrap();
    for (hospital, platform) in [(Some(root.as_path()), nowhere), (None, root.as_path())] {
        let mut client = Https::new(&url, hospital, platform, patience()).unwrap();
        assert_eq!(code(world.updater.check(&mut client)), "taken");
    }
    let bad = |hospital| {
        Https::new(&url, hospital, nowhere, patience())
            .err()
            .unwrap()
    };
    assert!(matches!(bad(None), FetchError::NoRoots));
    fs::write(&root, "no certificate").unwrap();
    assert!(matches!(bad(Some(&root)), FetchError::Roots(_)));
    assert!(matches!(bad(Some(nowhere)), FetchError::Roots(_)));
}
