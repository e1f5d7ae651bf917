//! The header `Forwarded` (RFC 7239).

use std::{borrow::Cow, net::IpAddr};

use http::HeaderValue;

use super::{MAX_HOPS, Malformed, node};

/// What one proxy wrote of the request that it got.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// From whom.
    node: Option<Cow<'a, str>>,
    pub(super) host: Option<Cow<'a, str>>,
    pub(super) proto: Option<Cow<'a, str>>,
}

impl<'a> Element<'a> {
    /// `None` if the proxy does not tell.
    pub(super) fn client(&self) -> Option<IpAddr> {
        node::address(self.node.as_deref()?)
    }

    fn set(&mut self, name: &str, value: Cow<'a, str>) -> Result<(), Malformed> {
        let is = |known| name.eq_ignore_ascii_case(known);
        let place = if is("for") {
            &mut self.node
        } else if is("host") {
            &mut self.host
        } else if is("proto") {
            &mut self.proto
        } else {
            // `by`, or an extension.
            return Ok(());
        };
        // RFC 7239 §4: once for each proxy.
        if place.replace(value).is_some() { Err(Malformed) } else { Ok(()) }
    }
}

/// Parses one line of the header. The last element is the nearest proxy's.
///
/// A quoted value that holds a comma or a semicolon makes a line malformed. No address, host or scheme holds one. A
/// quote that a client has opened, in the part of the line that is its own, would otherwise swallow what a proxy has
/// appended.
pub(super) fn parse(line: &HeaderValue) -> Result<Vec<Element<'_>>, Malformed> {
    let mut rest = line.to_str().map_err(|_| Malformed)?;
    let (mut elements, mut element) = (Vec::new(), Element::default());
    loop {
        rest = trim_start(rest);
        if !(rest.is_empty() || rest.starts_with([',', ';'])) {
            let (name, after) = rest.split_once('=').filter(|(name, _)| is_token(name)).ok_or(Malformed)?;
            let (value, after) = split_value(after)?;
            element.set(name, value)?;
            rest = trim_start(after);
        }
        match rest.split_at_checked(1) {
            Some((";", after)) => rest = after,
            Some((",", after)) if elements.len() < MAX_HOPS => {
                elements.push(std::mem::take(&mut element));
                rest = after;
            }
            None => {
                elements.push(element);
                return Ok(elements);
            }
            Some(_) => return Err(Malformed),
        }
    }
}

/// Splits a token or a quoted string (RFC 9110 §5.6) from what follows. Addresses and ports need quotes, but not all
/// proxies write them.
fn split_value(text: &str) -> Result<(Cow<'_, str>, &str), Malformed> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c| !(is_token_char(c) || matches!(c, ':' | '[' | ']'))).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return if value.is_empty() { Err(Malformed) } else { Ok((value.into(), after)) };
    };
    let mut unescaped: Option<String> = None;
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        let read = || quoted.get(..at).unwrap_or_default();
        match c {
            '"' => {
                let value = unescaped.map_or_else(|| read().into(), Cow::Owned);
                return Ok((value, chars.as_str()));
            }
            '\\' => {
                let (_, escaped) = chars.next().ok_or(Malformed)?;
                unescaped.get_or_insert_with(|| read().to_owned()).push(escaped);
            }
            ',' | ';' => return Err(Malformed),
            _ => {
                if let Some(unescaped) = &mut unescaped {
                    unescaped.push(c);
                }
            }
        }
    }
    Err(Malformed)
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

/// RFC 9110 §5.6.2.
const fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '^'..='`' | '|' | '~')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

    fn assert_parses(line: &'static str, expected: &[Parsed<'_>]) {
        let line = HeaderValue::from_static(line);
        let elements = parse(&line).expect("well-formed");
        let values = |Element { node, host, proto }: &Element<'_>| {
            [node, host, proto].map(|value| value.as_deref().map(str::to_owned))
        };
        let expected = expected.iter().map(|&(node, host, proto)| [node, host, proto].map(|v| v.map(str::to_owned)));
        assert_eq!(elements.iter().map(values).collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{line:?}");
    }

    #[test]
    fn elements_are_read() {
        let nothing = (None, None, None);
        let of = |node| (Some(node), None, None);
        // The examples of RFC 7239 §4 and §7.1.
        assert_parses(r#"for="_gazonk""#, &[of("_gazonk")]);
        assert_parses(r#"For="[2001:db8:cafe::17]:4711""#, &[of("[2001:db8:cafe::17]:4711")]);
        assert_parses("for=192.0.2.60;proto=http;by=203.0.113.43", &[(Some("192.0.2.60"), None, Some("http"))]);
        assert_parses("for=192.0.2.43, for=198.51.100.17", &[of("192.0.2.43"), of("198.51.100.17")]);
        assert_parses(
            r#"for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown"#,
            &[of("192.0.2.43"), of("[2001:db8:cafe::17]"), of("unknown")],
        );
        assert_parses(
            "for=_SEVKISEK;HOST=example.com;PROTO=https",
            &[(Some("_SEVKISEK"), Some("example.com"), Some("https"))],
        );
        // As proxies write it.
        assert_parses(
            r#"proto=http;host="127.0.0.1:8080";by="127.0.0.1:8080";for="127.0.0.1:5000""#,
            &[(Some("127.0.0.1:5000"), Some("127.0.0.1:8080"), Some("http"))],
        );
        assert_parses("for=127.0.0.1:80;host=a:1 ;\tproto=http", &[(Some("127.0.0.1:80"), Some("a:1"), Some("http"))]);
        assert_parses("for=[::1]", &[of("[::1]")]);
        assert_parses(r#"for="\1\92.0\.2.1"; x="a\"\\b""#, &[of("192.0.2.1")]);
        assert_parses("", &[nothing]);
        assert_parses(";;", &[nothing]);
        assert_parses(" ,for=a,", &[nothing, of("a"), nothing]);
        assert_parses(r#"for="";a="""#, &[of("")]);
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            "for",
            "for=",
            "=a",
            "for =a",
            "for= a",
            "for=a b",
            "for=a=b",
            "for=a for=b",
            "for=a;for=b",
            "for=a;host=b;FOR=a",
            "host=a;host=a",
            "192.0.2.1",
            "for=192.0.2.1/8",
            r#"for="a"#,
            r#"for="a\"#,
            r#"for="a\""#,
            r#"for=a""#,
            r#"for="a"b"#,
            r#"for=""a"""#,
            r#"for="a,b""#,
            r#"for="a;b""#,
            // A client has begun a string, and a proxy has appended its element.
            r#"for=6.6.6.6;x=", for=192.0.2.1"#,
            r#"for=6.6.6.6;x=", for="[2001:db8::1]""#,
            // The client has also sent `Host: , for=6.6.6.6;x=`.
            r#"x=", for=192.0.2.1;host=", for=6.6.6.6;x=""#,
            r#"for=192.0.2.1;host=", for=6.6.6.6;x=""#,
        ] {
            assert_eq!(parse(&HeaderValue::from_static(line)), Err(Malformed), "{line}");
        }
        assert_eq!(parse(&HeaderValue::from_bytes(b"for=\xff").expect("valid")), Err(Malformed));
        let many = HeaderValue::try_from("for=a,".repeat(MAX_HOPS + 1)).expect("valid");
        assert_eq!(parse(&many), Err(Malformed));
    }
}
