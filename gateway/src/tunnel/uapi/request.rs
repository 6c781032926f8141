//! Cuts the text of a client into requests.
//!
//! In: bytes in any portions. Out: whole requests, or that it is none.
//! Knows the form `key=value` and no key but the first.

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Everything, please.
    Get,
    /// Change this.
    Set(Vec<Line>),
}

impl Request {
    /// The lines after the first.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        match self {
            Self::Get => &[],
            Self::Set(lines) => lines,
        }
    }
}

/// One `key=value`. Values may be keys, so they are not for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Left of the `=`.
    pub key: String,
    /// Right of it.
    pub value: String,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=…", self.key)
    }
}

/// Not the text protocol, or beyond its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request of the WireGuard text protocol")]
pub struct Invalid;

/// One connection's bytes.
#[derive(Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// Up to here there is no end of a request.
    searched: usize,
    is_broken: bool,
}

impl Framer {
    /// More bytes of the client.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !self.is_broken {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next request. After [`Invalid`] there is none.
    pub fn poll(&mut self) -> Option<Result<Request, Invalid>> {
        let end = self
            .bytes
            .get(self.searched..)?
            .windows(2)
            .position(|w| w == b"\n\n");
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.bytes.len().saturating_sub(1);
            let line = self
                .bytes
                .rsplit(|b| *b == b'\n')
                .next()
                .unwrap_or_default();
            let is_too_long = line.len() > MAX_LINE || self.bytes.len() > MAX_REQUEST;
            return is_too_long.then(|| self.refuse());
        };
        let text: Vec<u8> = self.bytes.drain(..end + 2).take(end).collect();
        self.searched = 0;
        Some(
            if text.len() > MAX_REQUEST {
                self.refuse()
            } else {
                parse(&text)
            }
            .or_else(|_| self.refuse()),
        )
    }

    fn refuse(&mut self) -> Result<Request, Invalid> {
        *self = Self {
            is_broken: true,
            ..Self::default()
        };
        Err(Invalid)
    }
}

fn parse(text: &[u8]) -> Result<Request, Invalid> {
    let text = std::str::from_utf8(text).map_err(|_| Invalid)?;
    let mut lines = text.split('\n');
    let first = lines.next();
    let rest: Vec<Line> = lines.map(line).collect::<Result<_, _>>()?;
    match first {
        Some("get=1") if rest.is_empty() => Ok(Request::Get),
        Some("set=1") => Ok(Request::Set(rest)),
        _ => Err(Invalid),
    }
}

fn line(text: &str) -> Result<Line, Invalid> {
    let (key, value) = text.split_once('=').ok_or(Invalid)?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !is_key || text.len() > MAX_LINE {
        return Err(Invalid);
    }
    Ok(Line {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// Longest line.
pub const MAX_LINE: usize = 1024;
/// Longest request: some thousand peers.
pub const MAX_REQUEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], portion: usize) -> Vec<Result<Request, Invalid>> {
        let mut framer = Framer::default();
        let mut requests = Vec::new();
        for bytes in text.chunks(portion) {
            framer.receive(bytes);
            requests.extend(std::iter::from_fn(|| framer.poll()));
        }
        requests
    }

    #[test]
    fn any_portions_give_the_same_requests() {
        let text = b"get=1\n\nset=1\nlisten_port=1\nallowed_ip=\n\nset=1\n\nget=1\n\n";
        let whole = all(text, usize::MAX);
        assert_eq!(whole.len(), 4);
        assert!(whole.iter().all(Result::is_ok), "{whole:?}");
        let lines = whole[1].as_ref().unwrap().lines();
        assert_eq!(
            (lines[0].value.as_str(), lines[1].key.as_str()),
            ("1", "allowed_ip")
        );
        for portion in 1..text.len() {
            assert_eq!(all(text, portion), whole, "{portion}");
        }
    }

    #[test]
    fn refuses_what_is_no_request() {
        let long = format!("set=1\nendpoint={}\n\n", "x".repeat(MAX_LINE));
        let endless = "set=1\n".to_owned() + &"fwmark=0\n".repeat(MAX_REQUEST / 8);
        let texts = [
            "\n\n",
            "get=2\n\n",
            "get=1\nx=1\n\n",
            "GET / HTTP/1.1\n\n",
            "set=1\nkey\n\n",
            "set=1\n=v\n\n",
            "set=1\nKey=1\n\n",
            "set=1\nfwmark=\u{0}\n\u{80}\n\n",
            &long,
            &endless,
        ];
        for text in texts {
            let requests = all(text.as_bytes(), 1 << 14);
            assert_eq!(requests, [Err(Invalid)], "{}", &text[..text.len().min(20)]);
        }
        assert_eq!(all(b"set=1\n\xff=1\n\nget=1\n\n", 100), [Err(Invalid)]);
        assert_eq!(all("x".repeat(MAX_LINE + 1).as_bytes(), 7), [Err(Invalid)]);
        assert!(all("set=1".as_bytes(), 7).is_empty());
    }
}
