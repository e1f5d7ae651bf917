//! The head of a handshake, kept small for as long as the session lives.

use axum::extract::OriginalUri;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts};

/// What a verifier is shown again when the session is refreshed.
///
/// A copy: what hyper parsed shares its read buffer, and would keep all of that. And one piece of memory: a `HeaderMap`
/// takes five times as much as the text in it.
pub(crate) struct Head {
    method: Method,
    version: Version,
    /// The URI, the one before nesting (or nothing), and then names and values of headers.
    texts: Box<[u8]>,
}

const SENSITIVE: u8 = 1;

impl Head {
    pub(crate) fn of(parts: &Parts) -> Self {
        let uri = parts.uri.to_string();
        let original = parts.extensions.get::<OriginalUri>().map(|OriginalUri(uri)| uri.to_string());
        let original = original.unwrap_or_default();
        let headers = parts.headers.iter();
        let len: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 9).sum();
        let mut texts = Vec::with_capacity(len + uri.len() + original.len() + 8);
        push(&mut texts, uri.as_bytes());
        push(&mut texts, original.as_bytes());
        for (name, value) in &parts.headers {
            push(&mut texts, name.as_str().as_bytes());
            push(&mut texts, value.as_bytes());
            texts.push(if value.is_sensitive() { SENSITIVE } else { 0 });
        }
        Self { method: parts.method.clone(), version: parts.version, texts: texts.into_boxed_slice() }
    }

    /// The head as it was; of its extensions there is only axum's `OriginalUri`. `None` cannot be: all of it was parsed
    /// before.
    pub(crate) fn to_parts(&self) -> Option<Parts> {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.version = self.version;
        let mut rest = &*self.texts;
        parts.uri = Uri::try_from(pull(&mut rest)?).ok()?;
        match pull(&mut rest)? {
            [] => {}
            original => {
                parts.extensions.insert(OriginalUri(Uri::try_from(original).ok()?));
            }
        }
        while !rest.is_empty() {
            let name = HeaderName::from_bytes(pull(&mut rest)?).ok()?;
            let mut value = HeaderValue::from_bytes(pull(&mut rest)?).ok()?;
            let (flag, after) = rest.split_first()?;
            value.set_sensitive(*flag == SENSITIVE);
            rest = after;
            parts.headers.append(name, value);
        }
        Some(parts)
    }
}

fn push(texts: &mut Vec<u8>, text: &[u8]) {
    // No header comes near: hyper's own limit is far below.
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    texts.extend_from_slice(&len.to_be_bytes());
    texts.extend_from_slice(text);
}

fn pull<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (text, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = after;
    Some(text)
}
