//! A server that answers as it is told to, over plain TCP or TLS, for as long as the test lives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) name: String,
    /// From `Range: bytes=FROM-`.
    pub(super) from: Option<u64>,
    pub(super) if_range: Option<String>,
    /// How many requests for this name there were before.
    pub(super) number: usize,
}

/// What to answer.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// After the body: goes on for ever with the same bytes.
    pub(super) endless: bool,
    /// After the body: says nothing, and does not close.
    pub(super) silent: bool,
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::begin(None, Arc::new(handler))
    }

    pub(super) fn start_tls(
        config: ServerConfig,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::begin(Some(Arc::new(config)), Arc::new(handler))
    }

    fn begin(tls: Option<Arc<ServerConfig>>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, handler, log) = (tls.clone(), Arc::clone(&handler), Arc::clone(&log));
                std::thread::spawn(move || match tls {
                    Some(config) => {
                        let session = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(session, stream), &*handler, &log)
                    }
                    None => serve(stream, &*handler, &log),
                });
            }
        });
        Self { address, requests }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/updates/", self.address)
    }

    pub(super) fn count(&self, name: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|one| one.name == name).count()
    }
}

fn serve(
    mut stream: impl Read + Write,
    handler: &Handler,
    log: &Mutex<Vec<Request>>,
) -> Option<()> {
    let request = read(&mut stream)?;
    let request = {
        let mut log = log.lock().unwrap();
        let number = log.iter().filter(|one| one.name == request.name).count();
        let request = Request { number, ..request };
        log.push(request.clone());
        request
    };
    let reply = handler(&request);
    stream.write_all(reply.head.as_bytes()).ok()?;
    stream.write_all(&reply.body).ok()?;
    stream.flush().ok()?;
    if reply.endless {
        loop {
            stream.write_all(&[b'x'; 4096]).ok()?;
        }
    }
    if reply.silent {
        // Until the client has enough.
        let _ = stream.read(&mut [0]);
    }
    Some(())
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let mut lines = BufReader::with_capacity(1, stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?;
    let mut request = Request {
        name: path.rsplit('/').next()?.to_owned(),
        from: None,
        if_range: None,
        number: 0,
    };
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            return Some(request);
        }
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                request.from = value
                    .strip_prefix("bytes=")
                    .and_then(|range| range.strip_suffix('-'))
                    .and_then(|from| from.parse().ok());
            }
            "if-range" => request.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    None
}

/// 200 with these headers beside the length.
pub(super) fn whole(headers: &str, body: Vec<u8>) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n",
        body.len()
    );
    Reply {
        head,
        body,
        ..Reply::default()
    }
}

/// An answer without a body.
pub(super) fn bare(status: &str, headers: &str) -> Reply {
    Reply {
        head: format!(
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\n{headers}Connection: close\r\n\r\n"
        ),
        ..Reply::default()
    }
}

/// A good server: whole files with their tag, and the rest of one to whoever has its beginning.
pub(super) fn files(folder: PathBuf, tag: &'static str) -> impl Fn(&Request) -> Reply {
    move |request| {
        let Ok(body) = std::fs::read(folder.join(&request.name)) else {
            return bare("404 Not Found", "");
        };
        let etag = format!("ETag: {tag}\r\n");
        match request.from.map(|from| usize::try_from(from).unwrap()) {
            Some(from) if request.if_range.as_deref() == Some(tag) && from < body.len() => {
                let (length, rest) = (body.len(), body[from..].to_vec());
                let range = format!(
                    "Content-Range: bytes {from}-{}/{length}\r\n{etag}",
                    length - 1
                );
                let mut reply = whole(&range, rest);
                reply.head = reply.head.replace("200 OK", "206 Partial Content");
                reply
            }
            Some(_) | None => whole(&etag, body),
        }
    }
}
