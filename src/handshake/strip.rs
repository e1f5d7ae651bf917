//! Step two: removes the token from everywhere else, so that nothing behind the layer can see it.

use axum::extract::OriginalUri;
use http::request::Parts;

use super::config::Config;
use crate::{
    rejection::Rejection,
    session::Head,
    token::{Token, TokenError},
};

/// Strips axum's copy of the URI, and copies of the token in all other headers.
pub(super) fn strip(
    config: &Config,
    parts: &mut Parts,
    found: Result<Option<Token>, TokenError>,
) -> Result<Option<Token>, Rejection> {
    let version = parts.version;
    let refuse = |error| Rejection::token(error, &config.challenges, version);
    // Whether or not there is a token that can be used.
    let stripped = strip_original_uri(config, parts);
    let token = found.and_then(|token| stripped.map(|()| token)).map_err(refuse)?;
    if let Some(token) = &token {
        check_head(config, parts)?;
        let original = parts.extensions.get_mut::<OriginalUri>().map(|OriginalUri(uri)| uri);
        let uris = [Some(&mut parts.uri), original];
        config.sources.remove_copies(&mut parts.headers, uris, token).map_err(refuse)?;
    }
    Ok(token)
}

/// Refuses a head that is larger than what a session may keep, before anything costly is done.
pub(super) fn check_head(config: &Config, parts: &Parts) -> Result<(), Rejection> {
    if Head::encoded_len(parts) > config.max_head_len {
        return Err(Rejection::head_too_large(&config.challenges, parts.version));
    }
    Ok(())
}

/// axum's router keeps a second copy of the URI.
fn strip_original_uri(config: &Config, parts: &mut Parts) -> Result<(), TokenError> {
    match parts.extensions.get_mut::<OriginalUri>() {
        Some(OriginalUri(uri)) => config.sources.strip_uri(uri),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Config, Head, check_head};

    #[test]
    fn a_head_of_exactly_the_maximum_length_is_kept() {
        let (parts, ()) = Request::new(()).into_parts();
        let len = Head::encoded_len(&parts);
        let mut config = Config::default();
        for (max_head_len, is_kept) in [(len - 1, false), (len, true)] {
            config.max_head_len = max_head_len;
            assert_eq!(check_head(&config, &parts).is_ok(), is_kept);
        }
    }
}
