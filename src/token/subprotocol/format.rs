//! The known formats of a token in `Sec-WebSocket-Protocol`.

use std::borrow::Cow;

use crate::token::{Token, TokenErrorKind, encoding};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::token) enum Format {
    /// A marker, and the token as the next name.
    Pair { marker: Cow<'static, str> },
    /// One name: a prefix and the token.
    Prefixed(Prefixed),
    /// The token as the only name.
    Raw,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::token) struct Prefixed {
    pub(super) prefix: Cow<'static, str>,
    pub(super) encoding: Encoding,
    /// The public name to select. `None` selects the first other name.
    pub(super) marker: Option<&'static str>,
    /// What a name that ends after the prefix means.
    pub(super) bare_prefix: BarePrefix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarePrefix {
    /// There is no token, as in Kubernetes.
    NoToken,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not encoded.
    Raw,
    /// Base64 in either alphabet, with or without padding.
    Base64,
    /// `encodeURIComponent`.
    Percent,
    /// Base64 of a JSON object with a member `Authorization`.
    AppSync,
}

impl Prefixed {
    /// The encoded token, if the name has the prefix. Ignores case, because hiding a name from the handler is safer
    /// than exposing a token.
    pub(super) fn strip_prefix<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let (start, rest) = name.split_at_checked(self.prefix.len())?;
        start.eq_ignore_ascii_case(self.prefix.as_bytes()).then_some(rest)
    }
}

impl Encoding {
    /// `Ok(None)` if the encoded data is valid, but has no token.
    pub(super) fn decode(self, encoded: &[u8]) -> Result<Option<Token>, TokenErrorKind> {
        match self {
            _ if encoded.is_empty() => Err(TokenErrorKind::Empty),
            Self::Raw => encoding::subprotocol_name(encoded).map(Some),
            Self::Base64 => encoding::base64(encoded).map(Some),
            Self::Percent => encoding::percent(encoded).map(Some),
            Self::AppSync => encoding::appsync(encoded),
        }
    }
}

impl Format {
    pub(in crate::token) const BEARER: Self = Self::Pair { marker: Cow::Borrowed("bearer") };
    pub(in crate::token) const KUBERNETES: Self = Self::Prefixed(Prefixed {
        prefix: Cow::Borrowed("base64url.bearer.authorization.k8s.io."),
        encoding: Encoding::Base64,
        marker: None,
        bare_prefix: BarePrefix::NoToken,
    });
    pub(in crate::token) const PHOENIX: Self = Self::with_marker("base64url.bearer.phx.", Encoding::Base64, "phoenix");
    pub(in crate::token) const QUARKUS: Self = Self::with_marker(
        "quarkus-http-upgrade%23Authorization%23Bearer%20",
        Encoding::Percent,
        "bearer-token-carrier",
    );
    pub(in crate::token) const JUPYTER: Self =
        Self::with_marker("v1.token.websocket.jupyter.org.", Encoding::Percent, "v1.token.websocket.jupyter.org");
    pub(in crate::token) const OPENAI_REALTIME: Self =
        Self::with_marker("openai-insecure-api-key.", Encoding::Raw, "realtime");
    pub(in crate::token) const APPSYNC_EVENTS: Self =
        Self::with_marker("header-", Encoding::AppSync, "aws-appsync-event-ws");

    pub(in crate::token) const fn prefix(prefix: Cow<'static, str>) -> Self {
        Self::Prefixed(Prefixed { prefix, encoding: Encoding::Raw, marker: None, bare_prefix: BarePrefix::Refused })
    }

    const fn with_marker(prefix: &'static str, encoding: Encoding, marker: &'static str) -> Self {
        Self::Prefixed(Prefixed {
            prefix: Cow::Borrowed(prefix),
            encoding,
            marker: Some(marker),
            bare_prefix: BarePrefix::Refused,
        })
    }

    /// All predefined prefixes, whether or not they are sources of a layer.
    pub(super) fn known_prefixes() -> impl Iterator<Item = &'static Prefixed> {
        static KNOWN: [Format; 6] = [
            Format::KUBERNETES,
            Format::PHOENIX,
            Format::QUARKUS,
            Format::JUPYTER,
            Format::OPENAI_REALTIME,
            Format::APPSYNC_EVENTS,
        ];
        KNOWN.iter().filter_map(|format| match format {
            Self::Prefixed(prefixed) => Some(prefixed),
            Self::Pair { .. } | Self::Raw => None,
        })
    }

    /// The minimum length of a name in this format. `None` if the format is not recognized by its names.
    pub(super) fn min_len(&self) -> Option<usize> {
        match self {
            Self::Pair { marker } => Some(marker.len()),
            Self::Prefixed(prefixed) => Some(prefixed.prefix.len()),
            Self::Raw => None,
        }
    }

    /// The part of the format that may come from the application, and must be validated.
    pub(in crate::token) fn custom_part(&self) -> Option<&str> {
        match self {
            Self::Pair { marker } => Some(marker),
            Self::Prefixed(Prefixed { prefix, encoding: Encoding::Raw, .. }) => Some(prefix),
            Self::Prefixed(_) | Self::Raw => None,
        }
    }

    pub(in crate::token) fn name(&self) -> String {
        match self {
            Self::Pair { marker } => format!("subprotocol pair {}", marker.to_ascii_lowercase()),
            Self::Prefixed(prefixed) => format!("subprotocol prefix {}", prefixed.prefix.to_ascii_lowercase()),
            Self::Raw => "raw subprotocol".to_owned(),
        }
    }
}
