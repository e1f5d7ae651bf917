//! What the provider says about a token (RFC 7662 §2.2).

use std::{fmt, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use crate::json;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The token is not valid, for a reason that the provider does not name.
    Inactive,
    Active(Arc<Active>),
}

/// A valid token, as far as the provider knows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Active {
    /// The JSON of the answer's members.
    pub(super) json: Box<str>,
    pub(super) kind: TokenKind,
}

/// What kind of token it is, apart from what `cnf` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// An access token that any holder can use (RFC 6750).
    Bearer,
    /// An access token that is bound to a key (RFC 9449 §6.2).
    Bound,
    /// A refresh token, or another kind of token that clients do not send to a resource server.
    Other,
}

/// The members that are checked here. The registered claims are checked like those of a JSON Web Token.
#[derive(Deserialize)]
struct Members {
    active: bool,
    /// RFC 7662 §2.2.
    #[serde(default)]
    token_type: Option<String>,
    /// Ory Hydra: `access_token` or `refresh_token`.
    #[serde(default)]
    token_use: Option<Value>,
    /// Keycloak: `Bearer`, `Refresh`, `Offline` or `ID`.
    #[serde(default)]
    typ: Option<Value>,
}

impl Answer {
    /// Parses the members of an answer.
    pub(super) fn parse(json: &str) -> Result<Self, Failure> {
        // The error of serde may quote the answer.
        let members: Members = json::from_object(json.as_bytes()).map_err(|_| {
            Failure::malformed("it is no json object, has no valid `active`, or another member has the wrong type")
        })?;
        if !members.active {
            return Ok(Self::Inactive);
        }
        Ok(Self::Active(Arc::new(Active { kind: members.kind(), json: json.into() })))
    }
}

impl Members {
    fn kind(&self) -> TokenKind {
        let is_other = |member: &Option<Value>| {
            let text = member.as_ref().and_then(Value::as_str).unwrap_or_default();
            ["refresh_token", "refresh", "offline", "id_token", "id"]
                .iter()
                .any(|other| text.eq_ignore_ascii_case(other))
        };
        if is_other(&self.token_use) || is_other(&self.typ) {
            return TokenKind::Other;
        }
        match self.token_type.as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "bearer" | "access_token" => TokenKind::Bearer,
            "dpop" | "pop" => TokenKind::Bound,
            _ => TokenKind::Other,
        }
    }
}

// By hand: the answer holds personal data.
impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").field("kind", &self.kind).finish_non_exhaustive()
    }
}
