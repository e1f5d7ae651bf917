use http::HeaderValue;

use crate::error::ConfigError;

/// The challenges of a layer, written out once.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    realm: String,
    pub(super) bare: HeaderValue,
    pub(super) invalid_request: HeaderValue,
    pub(super) invalid_token: HeaderValue,
    pub(super) insufficient_scope: HeaderValue,
}

impl Default for Challenges {
    /// Named `websocket`: the scheme must be followed by something (RFC 6750 §3).
    fn default() -> Self {
        Self {
            realm: "websocket".to_owned(),
            bare: HeaderValue::from_static(r#"Bearer realm="websocket""#),
            invalid_request: HeaderValue::from_static(r#"Bearer realm="websocket", error="invalid_request""#),
            invalid_token: HeaderValue::from_static(r#"Bearer realm="websocket", error="invalid_token""#),
            insufficient_scope: HeaderValue::from_static(r#"Bearer realm="websocket", error="insufficient_scope""#),
        }
    }
}

impl Challenges {
    /// Writes a realm as a quoted string (RFC 9110 §5.6.4).
    pub(crate) fn new(realm: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::InvalidRealm(realm.to_owned());
        if realm.is_empty() {
            return Err(ConfigError::Empty("realm"));
        }
        if !realm.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err(invalid());
        }
        let realm = realm.replace('\\', r"\\").replace('"', r#"\""#);
        let challenge = |rest: &str| {
            HeaderValue::try_from(format!("Bearer realm=\"{realm}\"{rest}"))
                .map_err(|_| ConfigError::InvalidRealm(realm.clone()))
        };
        Ok(Self {
            bare: challenge("")?,
            invalid_request: challenge(r#", error="invalid_request""#)?,
            invalid_token: challenge(r#", error="invalid_token""#)?,
            insufficient_scope: challenge(r#", error="insufficient_scope""#)?,
            realm,
        })
    }

    /// Names the scope, if it can be written: `scope-token`s of RFC 6749 §3.3, with one space between them.
    pub(super) fn with_scope(&self, scope: &str) -> Option<HeaderValue> {
        let is_token =
            |token: &str| !token.is_empty() && token.bytes().all(|b| matches!(b, b'!' | b'#'..=b'[' | b']'..=b'~'));
        if !scope.split(' ').all(is_token) {
            return None;
        }
        let realm = &self.realm;
        HeaderValue::try_from(format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{scope}\"")).ok()
    }
}
