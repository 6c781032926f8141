//! Where a reference pointer (RP) points to: a URL on a host that the rule lists, or nowhere that we let pass.
//!
//! In: the pointer, escape sequences replaced. Out: what is wrong with it.
//! Receivers fetch what it names, from inside the hospital. So it is read strictly: everything about which
//! two readers of URLs could disagree is refused.

/// Judges a pointer. A host in the list may begin with `*.` and end with a port.
//= RFC 3986 3.2
pub(super) fn judge(pointer: &[u8], hosts: &[String]) -> Result<(), &'static str> {
    if hosts.is_empty() {
        return Err("points outside of the message, and the rule lists no `hosts`");
    }
    let (rest, usual_port) = if let Some(rest) = after(pointer, b"https://") {
        (rest, "443")
    } else if let Some(rest) = after(pointer, b"http://") {
        (rest, "80")
    } else {
        return Err("does not point to an http or https address");
    };
    let allowed = |b: &u8| b.is_ascii_graphic() && !b"\\\"<>^`{}|".contains(b);
    if !pointer.iter().all(allowed) {
        return Err("has a character that does not belong into a URL");
    }
    let end = rest.iter().position(|b| b"/?#".contains(b));
    let authority = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    if authority.contains(&b'@') {
        return Err("has a user before its host");
    }
    let (host, port) = split(authority).ok_or("has no host that all readers see the same way")?;
    let listed = hosts.iter().any(|listed| {
        let (name, listed_port) = split(listed.as_bytes()).unwrap_or((listed.as_bytes(), None));
        same_host(host, name)
            && port.unwrap_or(usual_port.as_bytes()) == listed_port.unwrap_or(usual_port.as_bytes())
    });
    if listed {
        Ok(())
    } else {
        Err("points to a host or port that the rule does not list")
    }
}

fn after<'p>(pointer: &'p [u8], scheme: &[u8]) -> Option<&'p [u8]> {
    let (start, rest) = pointer.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Host and port. IPv6 addresses stand in brackets.
fn split(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_ends = match authority {
        [b'[', ..] => {
            let bracket = authority.iter().position(|b| *b == b']')?;
            let inner = authority.get(1..bracket)?;
            let good = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
            (!inner.is_empty() && inner.iter().all(good)).then_some(bracket.saturating_add(1))?
        }
        _ => {
            let colon = authority.iter().position(|b| *b == b':');
            colon.unwrap_or(authority.len())
        }
    };
    let (host, rest) = authority.split_at_checked(host_ends)?;
    let sound = match host {
        [b'[', ..] => true,
        name => {
            let good = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'*');
            !name.is_empty() && name.iter().all(good)
        }
    };
    let port = match rest {
        [] => None,
        [b':', b'1'..=b'9', ..] => {
            let digits = rest.get(1..)?;
            (digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)).then_some(Some(digits))?
        }
        _ => return None,
    };
    sound.then_some((host, port))
}

/// Whether a host is the listed one, or below it if that begins with `*.`.
fn same_host(host: &[u8], listed: &[u8]) -> bool {
    if host.contains(&b'*') {
        return false;
    }
    match listed.strip_prefix(b"*") {
        // The dot stays, so that `*.example.org` is neither `example.org` nor `badexample.org`.
        Some(domain) => {
            let below = host.len().checked_sub(domain.len()).filter(|at| *at > 0);
            let labels = below.and_then(|at| host.split_at_checked(at));
            labels.is_some_and(|(before, end)| {
                end.eq_ignore_ascii_case(domain)
                    && before.split(|b| *b == b'.').all(|label| !label.is_empty())
            })
        }
        None => host.eq_ignore_ascii_case(listed),
    }
}

/// Longest pointer that is read.
//= C7
pub(super) const LONGEST: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of twins")]
    fn each_refusal_has_a_twin() {
        let hosts = [
            "pacs.example.org",
            "*.Img.example.org",
            "10.0.0.5:8080",
            "[2001:db8::1]",
        ];
        let hosts = hosts.map(str::to_owned);
        for (good, bad) in [
            (
                "https://pacs.example.org/a?b=c#d",
                "https://pacs.example.org.evil.org/a",
            ),
            ("https://PACS.example.org", "https://pacs.example.org."),
            ("http://pacs.example.org/x", "http://pacs.example.orgx"),
            (
                "https://pacs.example.org/@",
                "https://pacs.example.org@evil.org/",
            ),
            (
                "https://pacs.example.org/u@x",
                "https://u:p@pacs.example.org/",
            ),
            (
                "https://pacs.example.org/%5c",
                "https://pacs.example.org\\@evil.org/",
            ),
            (
                "https://pacs.example.org?q",
                "https://evil.org?https://pacs.example.org",
            ),
            (
                "https://pacs.example.org/a#b",
                "https://evil.org#pacs.example.org",
            ),
            (
                "https://pacs.example.org:443/",
                "https://pacs.example.org:8443/",
            ),
            (
                "http://pacs.example.org:80/",
                "https://pacs.example.org:80/",
            ),
            (
                "https://pacs.example.org:443/",
                "https://pacs.example.org:0443/",
            ),
            (
                "https://pacs.example.org:443/",
                "https://pacs.example.org:/",
            ),
            ("https://pacs.example.org/a", "https://pacs.example.org/a b"),
            (
                "https://pacs.example.org/a",
                "https://pacs.example.org/\u{e4}",
            ),
            ("https://a.img.example.org/", "https://img.example.org/"),
            ("https://a.b.img.example.org/", "https://.img.example.org/"),
            (
                "https://a.b.img.example.org/",
                "https://a..img.example.org/",
            ),
            ("https://a.img.example.org/", "https://aimg.example.org/"),
            ("https://a.img.example.org/", "https://*.img.example.org/"),
            ("http://10.0.0.5:8080/", "http://10.0.0.5/"),
            ("http://10.0.0.5:8080/", "http://167772165:8080/"),
            ("http://10.0.0.5:8080/", "http://0x0a000005:8080/"),
            ("http://10.0.0.5:8080/", "http://10.5:8080/"),
            ("http://[2001:db8::1]/", "http://[2001:db8::2]/"),
            ("http://[2001:db8::1]/", "http://[2001:db8::1%25eth0]/"),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]evil/"),
            ("https://pacs.example.org/", "https:pacs.example.org/"),
            ("https://pacs.example.org/", "https:///pacs.example.org/"),
            ("https://pacs.example.org/", "//pacs.example.org/"),
            ("HTTPS://pacs.example.org/", "file://pacs.example.org/x"),
            ("https://pacs.example.org/", "\\\\pacs.example.org\\x"),
            ("https://pacs.example.org/", "javascript:alert(1)"),
            ("https://pacs.example.org/", "ftp://pacs.example.org/"),
            ("https://pacs.example.org/", "/etc/passwd"),
            ("https://pacs.example.org/", "https://p%61cs.example.org/"),
            ("https://pacs.example.org/", "https://pacs%2eexample.org/"),
            ("https://pacs.example.org/", ""),
        ] {
            assert_eq!(judge(good.as_bytes(), &hosts), Ok(()), "{good}");
            assert!(judge(bad.as_bytes(), &hosts).is_err(), "{bad}");
            assert!(judge(good.as_bytes(), &[]).is_err(), "{good}");
        }
    }
}
