use std::borrow::Cow;

/// One way to spell a token in `Sec-WebSocket-Protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// A marker, and the token as the next name.
    Pair { marker: Cow<'static, str> },
    /// One name: a prefix and the token.
    Prefixed(Prefixed),
    /// The only name is the token.
    Raw,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefixed {
    pub(super) prefix: Cow<'static, str>,
    pub(super) encoding: Encoding,
    /// The public name to select, where the convention has one. Otherwise it is the first other name.
    pub(super) carrier: Option<&'static str>,
    /// What a name is that ends with the prefix: no token (Kubernetes says so), or a bad one.
    pub(super) bare_prefix: BarePrefix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarePrefix {
    NoToken,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Raw,
    /// Base64 in either alphabet, padded or not.
    Base64,
    /// `encodeURIComponent`.
    Percent,
    /// Base64 of a JSON object with a member `Authorization`.
    AppSync,
}

impl Prefixed {
    /// The encoded token, if the name begins as this convention says. Case makes no difference, to be on the safe side:
    /// a name is rather taken for a token than shown to a handler.
    pub(super) fn behind_prefix<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let (start, rest) = name.split_at_checked(self.prefix.len())?;
        start.eq_ignore_ascii_case(self.prefix.as_bytes()).then_some(rest)
    }
}

impl Spelling {
    pub(super) const BEARER: Self = Self::Pair { marker: Cow::Borrowed("bearer") };
    pub(super) const KUBERNETES: Self = Self::Prefixed(Prefixed {
        prefix: Cow::Borrowed("base64url.bearer.authorization.k8s.io."),
        encoding: Encoding::Base64,
        carrier: None,
        bare_prefix: BarePrefix::NoToken,
    });
    pub(super) const PHOENIX: Self = Self::carried("base64url.bearer.phx.", Encoding::Base64, "phoenix");
    pub(super) const QUARKUS: Self =
        Self::carried("quarkus-http-upgrade%23Authorization%23Bearer%20", Encoding::Percent, "bearer-token-carrier");
    pub(super) const JUPYTER: Self =
        Self::carried("v1.token.websocket.jupyter.org.", Encoding::Percent, "v1.token.websocket.jupyter.org");
    pub(super) const OPENAI_REALTIME: Self = Self::carried("openai-insecure-api-key.", Encoding::Raw, "realtime");
    pub(super) const APPSYNC_EVENTS: Self = Self::carried("header-", Encoding::AppSync, "aws-appsync-event-ws");

    pub(super) const fn prefix(prefix: Cow<'static, str>) -> Self {
        Self::Prefixed(Prefixed { prefix, encoding: Encoding::Raw, carrier: None, bare_prefix: BarePrefix::Refused })
    }

    const fn carried(prefix: &'static str, encoding: Encoding, carrier: &'static str) -> Self {
        Self::Prefixed(Prefixed {
            prefix: Cow::Borrowed(prefix),
            encoding,
            carrier: Some(carrier),
            bare_prefix: BarePrefix::Refused,
        })
    }

    /// The conventions that are known, whether they are sources of a layer or not.
    pub(super) fn known_prefixes() -> impl Iterator<Item = &'static Prefixed> {
        static KNOWN: [Spelling; 6] = [
            Spelling::KUBERNETES,
            Spelling::PHOENIX,
            Spelling::QUARKUS,
            Spelling::JUPYTER,
            Spelling::OPENAI_REALTIME,
            Spelling::APPSYNC_EVENTS,
        ];
        KNOWN.iter().filter_map(|spelling| match spelling {
            Self::Prefixed(prefixed) => Some(prefixed),
            Self::Pair { .. } | Self::Raw => None,
        })
    }

    /// How long a name is at least that is spelled so. `None` where it is not told by its name.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Pair { marker } => Some(marker.len()),
            Self::Prefixed(prefixed) => Some(prefixed.prefix.len()),
            Self::Raw => None,
        }
    }

    /// The part of the wire format that a user may have chosen, to be checked.
    pub(super) fn custom_part(&self) -> Option<&str> {
        match self {
            Self::Pair { marker } => Some(marker),
            Self::Prefixed(Prefixed { prefix, encoding: Encoding::Raw, .. }) => Some(prefix),
            Self::Prefixed(_) | Self::Raw => None,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Pair { marker } => format!("subprotocol pair {}", marker.to_ascii_lowercase()),
            Self::Prefixed(prefixed) => format!("subprotocol prefix {}", prefixed.prefix.to_ascii_lowercase()),
            Self::Raw => "raw subprotocol".to_owned(),
        }
    }
}
