//! What the fields of a request and of its answer say (RFC 9114 4.1.2, 4.2, 4.3; RFC 9220; RFC 9484 4).
//!
//! In: names and values. Out: what is asked for, or that the message is malformed.

use super::qpack::Field;
use super::{PATH, PROTOCOL};

/// A well-formed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A tunnel for all of IP.
    ConnectIp {
        /// Whom it is for: the name of the gateway, perhaps with its port.
        authority: String,
    },
    /// Anything else, with the status that answers it.
    Other(Status),
}

/// A status of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// Whether the tunnel is open.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self.0, 200..=299)
    }
}

/// A malformed message: a stream error `H3_MESSAGE_ERROR`, and why.
pub type Malformed = &'static str;

/// The fields of a section in two groups, each checked.
struct Section<'f> {
    pseudo: Vec<(&'f str, &'f str)>,
    regular: Vec<(&'f str, &'f str)>,
}

impl<'f> Section<'f> {
    fn read(fields: &'f [Field], known: &[&str]) -> Result<Self, Malformed> {
        let (mut pseudo, mut regular) = (Vec::new(), Vec::new());
        for field in fields {
            let name = name(&field.name)?;
            let value = value(&field.value)?;
            if !name.starts_with(':') {
                connection_specific(name, value)?;
                regular.push((name, value));
            } else if !regular.is_empty() {
                return Err("a pseudo-header field stands after other fields");
            } else if !known.contains(&name) {
                return Err("a pseudo-header field is not known here");
            } else if pseudo.iter().any(|(other, _)| *other == name) {
                return Err("a pseudo-header field stands twice");
            } else {
                pseudo.push((name, value));
            }
        }
        Ok(Self { pseudo, regular })
    }

    fn pseudo(&self, name: &str) -> Option<&'f str> {
        let found = self.pseudo.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| *value)
    }

    /// Capsules are no content: nothing may speak of its length or kind.
    //= RFC 9297 3.2
    fn is_of_capsules(&self) -> Result<(), Malformed> {
        let is_about_content = |name: &str| matches!(name, "content-length" | "content-type");
        if self.regular.iter().any(|(name, _)| is_about_content(name)) {
            return Err("a field is about content, and there are only capsules");
        }
        Ok(())
    }
}

/// Whether a path asks for all of IP. Old clients do not encode the asterisks.
fn is_for_all(path: &str) -> bool {
    path.eq_ignore_ascii_case(PATH) || path == PATH.replace("%2A", "*")
}

/// A name is lower case (RFC 9114 4.2), a token, and may begin with a colon.
fn name(bytes: &[u8]) -> Result<&str, Malformed> {
    let token = bytes.strip_prefix(b":").unwrap_or(bytes);
    let is_token = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte)
    };
    if token.is_empty() || !token.iter().all(is_token) {
        return Err("the name of a field has characters that it must not have");
    }
    std::str::from_utf8(bytes).map_err(|_| "the name of a field is no text")
}

/// A value has no control characters and no space at its ends (RFC 9110 5.5). What is not ASCII counts as unreadable.
fn value(bytes: &[u8]) -> Result<&str, Malformed> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(bytes.first()) || is_space(bytes.last()) {
        return Err("the value of a field begins or ends with a space");
    }
    if bytes
        .iter()
        .any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
    {
        return Err("the value of a field has control characters");
    }
    Ok(std::str::from_utf8(bytes).unwrap_or("?"))
}

//= RFC 9114 4.2
fn connection_specific(name: &str, value: &str) -> Result<(), Malformed> {
    match name {
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
            Err("a field is about the connection of HTTP/1.1")
        }
        "te" if value != "trailers" => Err("the field te says something else than trailers"),
        _ => Ok(()),
    }
}

/// Reads the fields of a request.
///
/// # Errors
/// When it is malformed. A well-formed request that is none for us is [`Request::Other`].
pub fn request(fields: &[Field]) -> Result<Request, Malformed> {
    const KNOWN: [&str; 5] = [":method", ":scheme", ":authority", ":path", ":protocol"];
    let section = Section::read(fields, &KNOWN)?;
    let method = section
        .pseudo(":method")
        .ok_or("the request has no :method")?;
    let (scheme, path) = (section.pseudo(":scheme"), section.pseudo(":path"));
    let authority = section.pseudo(":authority");
    if method == "CONNECT" && section.pseudo(":protocol").is_none() {
        //= RFC 9114 4.4: a tunnel to a port, which we are not
        return match (scheme, path, authority) {
            (None, None, Some(_)) => Ok(Request::Other(Status(501))),
            _ => Err("a CONNECT without :protocol has :scheme or :path, or no :authority"),
        };
    }
    let (Some(scheme), Some(path)) = (scheme, path) else {
        return Err("the request has no :scheme or no :path");
    };
    if path.is_empty() {
        return Err("the :path is empty");
    }
    let host = section.regular.iter().find(|(name, _)| *name == "host");
    let authority = match (authority, host) {
        (Some(authority), Some((_, host))) if authority != *host => {
            return Err(":authority and host differ");
        }
        (Some(""), _) | (None, None) => return Err("the request has no :authority"),
        (Some(authority), _) => authority,
        (None, Some((_, host))) => host,
    };
    match (method, section.pseudo(":protocol")) {
        ("CONNECT", Some(PROTOCOL)) if scheme != "https" || !is_for_all(path) => {
            Ok(Request::Other(Status(404)))
        }
        ("CONNECT", Some(PROTOCOL)) => {
            section.is_of_capsules()?;
            Ok(Request::ConnectIp {
                authority: authority.to_owned(),
            })
        }
        //= RFC 9220 3
        ("CONNECT", _) => Ok(Request::Other(Status(501))),
        (_, Some(_)) => Err(":protocol stands in a request that is no CONNECT"),
        ("GET" | "HEAD", None) => Ok(Request::Other(Status(404))),
        (_, None) => Ok(Request::Other(Status(405))),
    }
}

/// The fields of a request for a tunnel.
#[must_use]
pub fn connect_ip(authority: &str) -> Vec<Field> {
    vec![
        Field::new(":method", "CONNECT"),
        Field::new(":protocol", PROTOCOL),
        Field::new(":scheme", "https"),
        Field::new(":authority", authority),
        Field::new(":path", PATH),
        Field::new("capsule-protocol", "?1"),
    ]
}

/// An answer: its status and what `proxy-status` (RFC 9209) says of the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 101 is not among them (RFC 9114 4.5).
    pub status: Status,
    /// The `details` of `proxy-status`.
    pub details: Option<String>,
}

/// Longest `details` of an answer that is repeated to the user.
//= C7
const MAX_DETAILS: usize = 200;

/// Reads the fields of an answer.
///
/// # Errors
/// When it is malformed.
pub fn response(fields: &[Field]) -> Result<Response, Malformed> {
    let section = Section::read(fields, &[":status"])?;
    let status = section
        .pseudo(":status")
        .ok_or("the answer has no :status")?;
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status = status.parse().ok().filter(|_| digits);
    let status = status.filter(|status| (100..=599).contains(status) && *status != 101);
    let status = Status(status.ok_or("the :status is no status")?);
    if status.is_success() {
        section.is_of_capsules()?;
        //= RFC 9297 3.2
        if matches!(status.0, 204..=206) {
            return Err("the :status is one of content, and there are only capsules");
        }
    }
    let reason = section
        .regular
        .iter()
        .find(|(name, _)| *name == "proxy-status");
    Ok(Response {
        status,
        details: reason.and_then(|(_, value)| details(value)),
    })
}

/// The parameter `details` of `proxy-status`: a string of structured fields.
fn details(value: &str) -> Option<String> {
    let (_, rest) = value.split_once("details=\"")?;
    let (mut text, mut escaped) = (String::new(), false);
    for c in rest.chars().take(MAX_DETAILS) {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some(text),
            ' '..='~' => {
                text.push(c);
                escaped = false;
            }
            _ => return None,
        }
    }
    None
}

/// The fields of an answer.
#[must_use]
pub fn answer(status: Status, details: Option<&str>) -> Vec<Field> {
    let mut fields = vec![Field::new(":status", &status.0.to_string())];
    if status.is_success() {
        fields.push(Field::new("capsule-protocol", "?1"));
    }
    if let Some(details) = details {
        let plain = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let text: String = details
            .chars()
            .filter(plain)
            .take(MAX_DETAILS - 1)
            .collect();
        let reason = format!("lazaret; error=http_request_denied; details=\"{text}\"");
        fields.push(Field::new("proxy-status", &reason));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request with one field changed, added (when it is not there) or, without a value, left out.
    fn with(name: &str, value: Option<&str>) -> Result<Request, Malformed> {
        let mut fields = connect_ip("gateway.example");
        let at = fields
            .iter()
            .position(|field| field.name == name.as_bytes());
        match (at, value) {
            (Some(at), Some(value)) => fields[at] = Field::new(name, value),
            (Some(at), None) => drop(fields.remove(at)),
            (None, Some(value)) => fields.push(Field::new(name, value)),
            (None, None) => {}
        }
        request(&fields)
    }

    fn tunnel() -> Result<Request, Malformed> {
        Ok(Request::ConnectIp {
            authority: "gateway.example".to_owned(),
        })
    }

    #[test]
    fn ours_is_understood_and_others_are_answered() {
        assert_eq!(with("x", None), tunnel());
        assert_eq!(with("capsule-protocol", None), tunnel());
        assert_eq!(with("te", Some("trailers")), tunnel());
        //= RFC 9484 3 and erratum 8444
        for path in ["%2A/%2A/", "%2a/%2a/", "*/*/"] {
            let path = format!("/.well-known/masque/ip/{path}");
            assert_eq!(with(":path", Some(&path)), tunnel(), "{path}");
        }
        assert_eq!(with("host", Some("gateway.example")), tunnel());
        for (name, value, status) in [
            (":protocol", "connect-udp", 501),
            (":protocol", "websocket", 501),
            (":path", "/.well-known/masque/ip/10.0.0.1/6/", 404),
            (":path", "/", 404),
            (":scheme", "http", 404),
        ] {
            let other = Ok(Request::Other(Status(status)));
            assert_eq!(with(name, Some(value)), other, "{name}");
        }
        let get = |method: &str| {
            let mut fields = connect_ip("gateway.example");
            fields[0] = Field::new(":method", method);
            fields.remove(1);
            request(&fields)
        };
        assert_eq!(get("GET"), Ok(Request::Other(Status(404))));
        assert_eq!(get("POST"), Ok(Request::Other(Status(405))));
        let plain = [
            Field::new(":method", "CONNECT"),
            Field::new(":authority", "a:1"),
        ];
        assert_eq!(request(&plain), Ok(Request::Other(Status(501))));
    }

    #[test]
    fn each_malformed_request() {
        assert_eq!(with("x", None), tunnel(), "the twin");
        for (name, value) in [
            (":method", None),
            (":method", Some("GET")),
            (":scheme", None),
            (":path", None),
            (":path", Some("")),
            (":authority", None),
            (":authority", Some("")),
            ("host", Some("elsewhere.example")),
            (":status", Some("200")),
            ("Upper", Some("case")),
            ("", Some("nameless")),
            ("sp ace", Some("x")),
            ("connection", Some("close")),
            ("transfer-encoding", Some("chunked")),
            ("te", Some("gzip")),
            ("content-length", Some("0")),
            ("content-type", Some("text/plain")),
            ("x", Some("a\r\nb: c")),
            ("x", Some("a\0")),
            ("x", Some(" a")),
        ] {
            assert!(with(name, value).is_err(), "{name} {value:?}");
        }
        let mut twice = connect_ip("a");
        twice.insert(1, Field::new(":method", "CONNECT"));
        assert!(request(&twice).is_err());
        let mut late = connect_ip("a");
        late.rotate_right(1);
        assert!(request(&late).is_err());
    }

    #[test]
    fn answers_come_back_with_their_reason() {
        for (status, details) in [
            (200, None),
            (403, Some("outside hours")),
            (503, Some("a\"b\\c")),
        ] {
            let read = response(&answer(Status(status), details)).unwrap();
            assert_eq!(read.status, Status(status));
            let plain = details.map(|text| text.replace(['"', '\\'], ""));
            assert_eq!(read.details, plain);
        }
        let escaped = r#"other; details="say \"no\" \\ twice""#;
        assert_eq!(details(escaped).as_deref(), Some(r#"say "no" \ twice"#));
        assert_eq!(details(r#"other; details="open"#), None);
    }

    #[test]
    fn each_malformed_answer() {
        assert!(response(&answer(Status(200), None)).is_ok(), "the twin");
        for status in ["", "20", "2000", "+20", "101", "999", "abc"] {
            assert!(
                response(&[Field::new(":status", status)]).is_err(),
                "{status}"
            );
        }
        //= RFC 9297 3.2
        for status in ["204", "205", "206"] {
            assert!(response(&[Field::new(":status", status)]).is_err());
        }
        for (name, value) in [("content-length", "0"), ("content-type", "text/plain")] {
            let about = |status| {
                let status = Field::new(":status", status);
                response(&[status, Field::new(name, value)])
            };
            assert!(about("403").is_ok() && about("200").is_err(), "{name}");
        }
        assert!(response(&[]).is_err());
        assert!(response(&[Field::new(":method", "GET")]).is_err());
    }
}
