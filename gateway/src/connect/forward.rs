//! Local ports that lead to services.
//!
//! In: programs that connect. Out: their streams with the address of the service, as the gateway tells it now.

use std::io;
use std::net::SocketAddr;

use lazaret_config::Forward;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::event::Event;
use super::link::Granted;
use super::stack::Open;
use crate::masque::service::Service;

const TCP: u8 = 6;

/// Opens a local port; it is served until the client ends.
///
/// # Errors
/// When the port is taken or may not be used.
pub(super) async fn start(
    forward: Forward,
    granted: watch::Receiver<Granted>,
    opens: mpsc::Sender<Open>,
    events: mpsc::Sender<Event>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(forward.listen).await?;
    let listen = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "a program could not be taken");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let found = target(&granted.borrow(), &forward);
            match found {
                Ok(target) => {
                    if opens.send(Open { stream, target }).await.is_err() {
                        return;
                    }
                }
                Err(why) => {
                    drop(stream);
                    let service = forward.service.to_string();
                    let why = why.to_owned();
                    if events
                        .send(Event::NotAllowed { service, why })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
    });
    Ok(listen)
}

/// After an error of the system.
const BREATH: std::time::Duration = std::time::Duration::from_millis(100);

/// Where the service is, if it may be used.
fn target(granted: &Granted, forward: &Forward) -> Result<SocketAddr, &'static str> {
    if !granted.is_open {
        return Err("there is no tunnel now");
    }
    let ours = |address: &std::net::IpAddr| {
        let same = |net: &ipnet::IpNet| net.addr().is_ipv4() == address.is_ipv4();
        granted.addresses.iter().any(same)
    };
    let usable = |service: &&Service| {
        service.name == forward.service.as_str()
            && matches!(service.protocol, 0 | TCP)
            && ours(&service.address)
    };
    let mut found: Vec<&Service> = granted.services.iter().filter(usable).collect();
    if found.is_empty() {
        return Err("it may not be used now");
    }
    if let Some(port) = forward.port {
        let holds = |service: &&&Service| {
            service.protocol == 0 || (service.first_port..=service.last_port).contains(&port)
        };
        let service = found
            .iter()
            .find(holds)
            .ok_or("this port of it may not be used")?;
        return Ok((service.address, port).into());
    }
    found.retain(|service| service.protocol == TCP && service.first_port == service.last_port);
    let ports: std::collections::BTreeSet<u16> =
        found.iter().map(|service| service.first_port).collect();
    match (found.first(), ports.len()) {
        (Some(service), 1) => Ok((service.address, service.first_port).into()),
        _ => Err("it has several ports: write `SERVICE:PORT`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, address: &str, protocol: u8, first: u16, last: u16) -> Service {
        Service {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            protocol,
            first_port: first,
            last_port: last,
            seconds_left: 0,
        }
    }

    #[test]
    fn names_become_addresses() {
        let mut granted = Granted {
            is_open: true,
            gateway: None,
            addresses: vec!["10.65.0.7/32".parse().unwrap()],
            routes: vec![],
            services: vec![
                service("pacs", "fd20::10", 6, 104, 104),
                service("pacs", "10.20.1.10", 6, 104, 104),
                service("console", "10.20.0.5", 6, 22, 22),
                service("console", "10.20.0.5", 6, 3389, 3389),
                service("media", "10.20.0.6", 17, 5004, 5010),
                service("lab", "10.20.0.7", 0, 0, 0),
            ],
            mtu: 1280,
        };
        let find = |granted: &Granted, text: &str| {
            target(granted, &format!("127.0.0.1:1={text}").parse().unwrap())
                .map(|to| to.to_string())
        };
        for (text, found) in [
            ("pacs", Ok("10.20.1.10:104")),
            ("console:3389", Ok("10.20.0.5:3389")),
            ("lab:8080", Ok("10.20.0.7:8080")),
            ("pacs:105", Err("this port of it may not be used")),
            ("console", Err("it has several ports: write `SERVICE:PORT`")),
            ("lab", Err("it has several ports: write `SERVICE:PORT`")),
            ("media", Err("it may not be used now")),
            ("his", Err("it may not be used now")),
        ] {
            assert_eq!(find(&granted, text), found.map(str::to_owned), "{text}");
        }
        granted.is_open = false;
        assert_eq!(find(&granted, "pacs"), Err("there is no tunnel now"));
    }
}
