//! What is wrong with a configuration.

/// A configuration that would not be safe, or could never work.
///
/// It is returned while the layer or a verifier is being built, never at run time, and names the offending input. Key
/// material is never part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of token sources is empty, so that no handshake could ever be authenticated.
    #[error("no token source: no handshake could be authenticated")]
    NoTokenSource,
    /// The same token source is listed twice.
    #[error("the token source `{0}` is listed twice")]
    DuplicateTokenSource(String),
    /// Not a header name (RFC 9110 §5.1), or a header that other sources or the protocol itself own.
    #[error("`{0}` cannot be used as the name of a token header")]
    InvalidHeaderName(String),
    /// Not a cookie name (RFC 6265 §4.1.1).
    #[error("`{0}` is not a cookie name")]
    InvalidCookieName(String),
    /// Not usable as the name of a query parameter.
    #[error("`{0}` is not a usable name for a query parameter")]
    InvalidQueryName(String),
    /// A subprotocol marker or prefix is empty or holds a character that a subprotocol name may not hold (RFC 6455
    /// §4.1).
    #[error("`{0}` cannot stand in a subprotocol name")]
    InvalidSubprotocol(String),
    /// The longest token allowed is zero bytes long.
    #[error("the token length cap is zero: every token would be refused")]
    ZeroTokenLength,
    /// A limit of zero: no session could begin.
    #[error("the limit on {0} is zero")]
    ZeroLimit(&'static str),
    /// Not a code that a server may close with (RFC 6455 §7.4).
    #[error("{0} is not a close code that a server may send")]
    InvalidCloseCode(u16),
    /// The realm holds a character that a quoted string may not hold (RFC 9110 §5.6.4).
    #[error("the realm {0:?} holds a character that a quoted string may not hold")]
    InvalidRealm(String),
    /// An entry of the list of allowed origins could never equal what a client sends.
    #[error("`{origin}` can never match an `Origin` header: {problem}")]
    InvalidOrigin {
        /// The entry.
        origin: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The list of allowed origins is empty: no browser could connect.
    #[error("the list of allowed origins is empty")]
    NoOrigin,
    /// A cookie is a token source, and the origin policy would let every web page use it.
    #[error("the cookie `{cookie}` is a token source, but any origin is allowed: every web page could use it")]
    CookieFromAnyOrigin {
        /// The name of the cookie.
        cookie: String,
    },
    /// The verifier has no key.
    #[error("the verifier has no key")]
    NoKey,
    /// Neither `aws-lc-rs` nor `rust-crypto` is compiled in.
    #[error("no crypto backend: enable the feature `aws-lc-rs` or `rust-crypto` of axum-ws-auth")]
    NoCryptoBackend,
    /// The text or bytes are not a key that can verify signatures.
    #[error("unusable key: {problem}")]
    InvalidKey {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A secret or key is too short for its algorithm (RFC 7518 §3.2 and §3.3).
    #[error("the key for {algorithm} has {bits} bits, at least {minimum} are needed")]
    WeakKey {
        /// The algorithm's name.
        algorithm: String,
        /// How long the key is.
        bits: usize,
        /// How long it must be.
        minimum: usize,
    },
    /// The key is of another kind or curve than the algorithm.
    #[error("the key cannot be used with {algorithm}")]
    AlgorithmMismatch {
        /// The algorithm's name.
        algorithm: String,
    },
    /// The type of the claims can never be read from a JSON object, which the claims of every token are.
    #[error("claims are a json object, and `{0}` can never be read from one")]
    ClaimsNotAnObject(&'static str),
    /// An audience is configured, and so is that any will do.
    #[error("an audience is configured, and any audience is allowed")]
    AudienceAndAny,
    /// The leeway is longer than an hour, for which no clock is wrong.
    #[error("the leeway of {0:?} is longer than an hour")]
    LongLeeway(std::time::Duration),
    /// The clock skew allowed for is longer than an hour.
    #[error("the clock skew of {0:?} is longer than an hour")]
    LongClockSkew(std::time::Duration),
    /// A URL of keys or of Redis that cannot be used, or should not be.
    #[error("unusable url `{url}`: {problem}")]
    InvalidUrl {
        /// The URL, without what may be a password.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two sets of keys are of the same issuer.
    #[error("the issuer `{0}` has two sets of keys")]
    DuplicateIssuer(String),
    /// None of the keys in a set can verify signatures.
    #[error("no key of `{issuer}` can be used: {problems}")]
    NoUsableKey {
        /// Whose keys they are.
        issuer: String,
        /// What is wrong with each.
        problems: String,
    },
    /// A duration of zero, with which something would never or always be done.
    #[error("the {0} is zero")]
    ZeroDuration(&'static str),
    /// A duration of more than a year.
    #[error("the {0} is longer than a year")]
    LongDuration(&'static str),
    /// The refresh interval ends before it begins, or after the keys are too old to be used.
    #[error("the longest refresh interval is shorter than the shortest one, or longer than keys are used")]
    InvalidRefreshInterval,
    /// A ticket that would be good for longer than 30 seconds.
    #[error("a ticket that is good for {0:?} is too long: 30 seconds at most")]
    LongTicket(std::time::Duration),
    /// A node would take its knowledge of revocations for too old before a store can confirm it.
    #[error("revocations cannot be confirmed every {0:?}: 15 seconds at least")]
    ShortStaleness(std::time::Duration),
    /// Leases would run out while they are being renewed.
    #[error("leases of {0:?} cannot be renewed in time: three seconds at least")]
    ShortLease(std::time::Duration),
    /// Not the path of a request.
    #[error("`{0}` can never be the path of a request")]
    InvalidPath(String),
    /// A prefix of keys in a store that is empty, or holds a brace.
    #[error("`{0}` cannot be what keys begin with")]
    InvalidPrefix(String),
    /// Keys are to be fetched, and there is no tokio runtime to do it.
    #[error("keys are to be fetched, and there is no tokio runtime here")]
    NoRuntime,
    /// The HTTP client that is built in cannot be built.
    #[error("no http client: {0}")]
    NoHttpClient(String),
    /// A realm, issuer, audience, token type, key id or list of algorithms is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
}
