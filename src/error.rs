//! Configuration errors.

/// A configuration that is unsafe or can never work.
///
/// Builders return it, before anything runs. It names the offending input, but never key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The list of token sources is empty, so no handshake could be authenticated.
    #[error("no token source: no handshake could be authenticated")]
    NoTokenSource,
    /// The same token source is listed twice.
    #[error("the token source `{0}` is listed twice")]
    DuplicateTokenSource(String),
    /// Not a header name (RFC 9110 §5.1), or a header that another source or the protocol uses.
    #[error("`{0}` cannot be used as the name of a token header")]
    InvalidHeaderName(String),
    /// Not a cookie name (RFC 6265 §4.1.1).
    #[error("`{0}` is not a cookie name")]
    InvalidCookieName(String),
    /// Not usable as the name of a query parameter.
    #[error("`{0}` is not a usable name for a query parameter")]
    InvalidQueryName(String),
    /// A subprotocol marker or prefix is empty, or holds a character that RFC 6455 §4.1 does not allow.
    #[error("`{0}` is not valid in a subprotocol name")]
    InvalidSubprotocol(String),
    /// The maximum token length is zero.
    #[error("the maximum token length is zero: every token would be refused")]
    ZeroTokenLength,
    /// A limit is zero, so no session could begin.
    #[error("the limit on {0} is zero")]
    ZeroLimit(&'static str),
    /// Not a close code that a server may send (RFC 6455 §7.4).
    #[error("{0} is not a close code that a server may send")]
    InvalidCloseCode(u16),
    /// The realm holds a character that is not allowed in a quoted string (RFC 9110 §5.6.4).
    #[error("the realm {0:?} holds a character that is not allowed in a quoted string")]
    InvalidRealm(String),
    /// Not a list of scopes, or not one scope where only one is possible (RFC 6749 §3.3).
    #[error("{0:?} is not a scope")]
    InvalidScope(String),
    /// Not an authentication context class (`acr`) that can be written in a list.
    #[error("{0:?} is not an authentication context class")]
    InvalidAcr(String),
    /// A member of a metadata document that a method of its own sets.
    #[error("the member `{0}` has a method of its own")]
    ReservedMember(String),
    /// An allowed origin that no `Origin` header can equal.
    #[error("`{origin}` can never match an `Origin` header: {problem}")]
    InvalidOrigin {
        /// The entry.
        origin: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The list of trusted proxies is empty.
    #[error("the list of trusted proxies is empty")]
    NoProxy,
    /// Not a network of trusted proxies, such as `10.0.0.0/8`.
    #[error("`{network}` is not a network of proxies: {problem}")]
    InvalidNetwork {
        /// The entry.
        network: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a length of a prefix of IPv6 addresses.
    #[error("an IPv6 address has no prefix of {0} bits: 1 to 128")]
    InvalidIpv6Prefix(u8),
    /// Not a content type of the form `type/subtype` (RFC 9110 §8.3.1).
    #[error("`{0}` is not a content type without parameters")]
    InvalidContentType(String),
    /// The list of allowed origins is empty, so no browser could connect.
    #[error("the list of allowed origins is empty")]
    NoOrigin,
    /// A cookie is a token source and every origin is allowed, so every web page could use it.
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
    /// The input is not a key that can verify signatures.
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
        /// The length of the key in bits.
        bits: usize,
        /// The required length in bits.
        minimum: usize,
    },
    /// The key's type or curve does not match the algorithm.
    #[error("the key cannot be used with {algorithm}")]
    AlgorithmMismatch {
        /// The algorithm's name.
        algorithm: String,
    },
    /// The claims type cannot be deserialized from a JSON object, which every token's claims are.
    #[error("claims are a json object, and `{0}` cannot be deserialized from one")]
    ClaimsNotAnObject(&'static str),
    /// An audience is configured, and any audience is allowed.
    #[error("an audience is configured, and any audience is allowed")]
    AudienceAndAny,
    /// The leeway is longer than an hour.
    #[error("the leeway of {0:?} is longer than an hour")]
    LongLeeway(std::time::Duration),
    /// The clock skew is longer than an hour.
    #[error("the clock skew of {0:?} is longer than an hour")]
    LongClockSkew(std::time::Duration),
    /// A URL that is unusable or unsafe.
    #[error("unusable url `{url}`: {problem}")]
    InvalidUrl {
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two key sets have the same issuer.
    #[error("the issuer `{0}` has two sets of keys")]
    DuplicateIssuer(String),
    /// Two key sets are for tokens without an issuer.
    #[error("two sets of keys are for tokens without an issuer: `{0}` is the second")]
    DuplicateMissingIssuer(String),
    /// Not the Amazon Resource Name of a load balancer whose tokens can be verified.
    #[error("unusable arn `{arn}`: {problem}")]
    InvalidArn {
        /// The name.
        arn: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The keys that a rule returns for an issuer have another name, or several.
    #[error("the keys for `{0}` are those of another issuer, or have several names")]
    KeysOfAnotherIssuer(String),
    /// No key of a set can verify signatures.
    #[error("no key of `{issuer}` is usable: {problems}")]
    NoUsableKey {
        /// The issuer of the keys.
        issuer: String,
        /// What is wrong with each key.
        problems: String,
    },
    /// A duration is zero.
    #[error("the {0} is zero")]
    ZeroDuration(&'static str),
    /// A duration is longer than a year.
    #[error("the {0} is longer than a year")]
    LongDuration(&'static str),
    /// The maximum refresh interval is shorter than the minimum, or longer than keys stay in use.
    #[error("the maximum refresh interval is shorter than the minimum, or longer than keys stay in use")]
    InvalidRefreshInterval,
    /// A ticket lifetime is longer than 30 seconds.
    #[error("a ticket lifetime of {0:?} is too long: 30 seconds at most")]
    LongTicket(std::time::Duration),
    /// The maximum staleness of revocations is shorter than a store needs to confirm them.
    #[error("revocations cannot be confirmed every {0:?}: 15 seconds at least")]
    ShortStaleness(std::time::Duration),
    /// A lease lifetime is too short to be renewed in time.
    #[error("leases of {0:?} cannot be renewed in time: three seconds at least")]
    ShortLease(std::time::Duration),
    /// Not a request path.
    #[error("`{0}` is not a request path")]
    InvalidPath(String),
    /// A key prefix of a store is empty or holds a brace.
    #[error("`{0}` is not a usable key prefix")]
    InvalidPrefix(String),
    /// A refresh route belongs to a layer without a registry, which could find no session.
    #[error("a refresh route needs a layer with a registry: call `sessions` before")]
    NoRegistry,
    /// Fetching keys needs a tokio runtime, and none is running here.
    #[error("keys are to be fetched, and no tokio runtime is running here")]
    NoRuntime,
    /// The age of a proof is longer than an hour.
    #[error("a proof that is {0:?} old is too old: an hour at most")]
    LongProofAge(std::time::Duration),
    /// The operating system provides no random numbers.
    #[error("the operating system provides no random numbers")]
    NoRandomNumbers,
    /// Proofs cannot be signed with a symmetric algorithm, because the key in a proof is public.
    #[error("proofs cannot be signed with {0}, because the key in a proof is public")]
    SymmetricProof(String),
    /// The built-in HTTP client cannot be created.
    #[error("no http client: {0}")]
    NoHttpClient(String),
    /// A realm, issuer, audience, client id, token type, key id or list of algorithms is empty.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// A claim with a meaning of its own, such as `sub`, is to hold something else.
    #[error("the claim `{0}` has another meaning")]
    ReservedClaim(String),
}
