use std::{fmt, sync::Arc};

use super::IssuerKeys;
use crate::{error::ConfigError, http_client::UrlPolicy};

/// The longest `iss` that a rule sees. Anyone can send one, and it becomes part of a URL.
const MAX_LEN: usize = 512;
/// The longest text in the place of the `*` of a template.
const MAX_TENANT_LEN: usize = 128;
const DEFAULT_LIMIT: usize = 100;

/// Issuers that are not listed but recognized, such as a realm for each tenant; see
/// [`issuers_where`](crate::jwt::JwtVerifierBuilder::issuers_where).
///
/// The first token of an issuer has its keys fetched. Its handshake waits for them.
///
/// The `iss` of a token is text that anyone can write, and the rule is asked before the signature is checked. So:
///
/// - **A rule that allows too much lets anyone in.** Keys are fetched from a URL in that `iss`. A rule that allows
///   `https://id.example.com*` also allows `https://id.example.com.evil.example`, whose owner can then sign tokens.
///   [`matching`](Self::matching) prevents that.
/// - **An issuer is kept once a token of it is valid**, up to a [limit](Self::max_issuers). At the limit, a further one
///   replaces the least recently used one, unless that was used within the last minute. An issuer that was not used for
///   a day is dropped too.
/// - **An issuer without a valid token is dropped within 30 seconds**, for example if it does not exist. There are at
///   most 16 such issuers at a time. They never take the place of those that are in use.
/// - **New issuers are limited**: as many at once as the limit allows, then one each second. Tokens of further ones are
///   refused with 503 and `Retry-After`, never 401. So an attacker who invents names can delay new issuers, but does
///   not affect those that are in use.
///
/// A dropped issuer is added again by its next token. Its tokens in a [`CachedVerifier`](crate::CachedVerifier) are
/// then verified again. [`JwtVerifier::status`](crate::jwt::JwtVerifier::status) lists the issuers of a rule after the
/// configured ones; [`ready`](crate::jwt::JwtVerifier::ready) does not wait for them.
///
/// # Example
///
/// ```
/// use axum_ws_auth::{Token, Verifier, VerifyErrorKind, VerifyInput, jwks::{IssuerKeys, IssuerRule}, jwt::JwtVerifier};
/// use axum_ws_auth::test_util::{TestToken, handshake};
/// use std::time::SystemTime;
/// # use axum_ws_auth::{jwks::JwkSet, test_util::{TEST_SECRET, base64url}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let set: JwkSet = serde_json::from_value(serde_json::json!({"keys": [{"kty": "oct", "k": base64url(TEST_SECRET)}]}))?;
/// // A Keycloak server with a realm for each tenant.
/// let tenants = IssuerRule::matching("https://id.example.com/realms/*", |realm| realm.starts_with("tenant-"))
/// #   .keys(move |iss| IssuerKeys::jwks(iss, set.clone()))
///     .max_issuers(500);
/// let verifier = JwtVerifier::<serde_json::Value>::builder().issuers_where(tenants).audience("chat").build()?;
///
/// let (parts, _) = handshake().build().into_parts();
/// let outcome = async |iss| {
///     let token = Token::new(TestToken::new("alice").claim("aud", "chat").claim("iss", iss).sign());
///     verifier.verify(VerifyInput::new(&token, &parts, SystemTime::now())).await.map_err(|error| error.kind())
/// };
/// // Yes: a tenant.
/// assert!(outcome("https://id.example.com/realms/tenant-1").await.is_ok());
/// assert_eq!(verifier.status()[0].issuer(), "https://id.example.com/realms/tenant-1");
/// // No: not a tenant, and on another host.
/// assert_eq!(outcome("https://id.example.com/realms/master").await.unwrap_err(), VerifyErrorKind::WrongIssuer);
/// assert_eq!(outcome("https://id.example.com.evil/realms/tenant-1").await.unwrap_err(), VerifyErrorKind::WrongIssuer);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct IssuerRule {
    template: Option<String>,
    is_allowed: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    keys: Arc<dyn Fn(&str) -> IssuerKeys + Send + Sync>,
    pub(super) limit: usize,
}

impl IssuerRule {
    /// Issuers that match a template with one `*`, such as `https://id.example.com/realms/*`, and whose text in the
    /// place of the `*` is allowed.
    ///
    /// The `*` is a whole part of the path and stands for 1 to 128 letters, digits, and `-`, `.`, `_` or `~` (RFC 3986
    /// §2.3), but not for `.` or `..`. Another template does not build, nor one that is not `https` (`http` to
    /// `localhost` is allowed).
    pub fn matching(template: impl Into<String>, is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let template = template.into();
        let (before, after) = template.split_once('*').unwrap_or((&template, ""));
        let (before, after) = (before.to_owned(), after.to_owned());
        let matches = move |iss: &str| {
            let tenant = iss.strip_prefix(&*before).and_then(|rest| rest.strip_suffix(&*after));
            tenant.is_some_and(|tenant| is_path_segment(tenant) && is_allowed(tenant))
        };
        Self { template: Some(template), ..Self::new(matches) }
    }

    /// Issuers that are allowed.
    ///
    /// The closure gets an `iss` of up to 512 bytes; longer ones are refused. It must check the whole of it, the host
    /// first; see [above](Self). It runs for each token whose issuer is not known yet, on the threads that serve
    /// requests, so it must not block.
    pub fn new(is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            template: None,
            is_allowed: Arc::new(is_allowed),
            keys: Arc::new(|iss: &str| IssuerKeys::discover(iss)),
            limit: DEFAULT_LIMIT,
        }
    }

    /// Sets where the keys of an issuer come from, and how they are fetched. The closure gets an `iss` that is allowed.
    ///
    /// The keys must have that name and no other. Otherwise tokens of the issuer are refused with 503, with an event.
    ///
    /// Defaults to [`IssuerKeys::discover`].
    pub fn keys(mut self, keys: impl Fn(&str) -> IssuerKeys + Send + Sync + 'static) -> Self {
        self.keys = Arc::new(keys);
        self
    }

    /// Sets how many issuers are kept.
    ///
    /// Defaults to 100, because each issuer has a few kilobytes of keys, a task, and two requests each hour. Set it to
    /// the number of tenants that use this server within a day. Zero does not build.
    pub const fn max_issuers(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// What it allows, for logs.
    pub(super) fn expected(&self) -> String {
        self.template.as_deref().unwrap_or("<fn>").to_owned()
    }

    pub(super) fn allows(&self, iss: &str) -> bool {
        iss.len() <= MAX_LEN && (self.is_allowed)(iss)
    }

    pub(super) fn keys_of(&self, iss: &str) -> Result<IssuerKeys, ConfigError> {
        let keys = (self.keys)(iss);
        if keys.names.are_only(iss) { Ok(keys) } else { Err(ConfigError::KeysOfAnotherIssuer(iss.to_owned())) }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.limit == 0 {
            return Err(ConfigError::ZeroLimit("issuers of a rule"));
        }
        let Some(template) = &self.template else { return Ok(()) };
        UrlPolicy::parse(&template.replacen('*', "tenant", 1), false)?;
        let path = template.splitn(4, '/').nth(3).unwrap_or_default();
        let is_whole_segment = path.split('/').any(|segment| segment == "*");
        if is_whole_segment && template.matches('*').count() == 1 {
            return Ok(());
        }
        let problem = "it needs one `*`, as a whole part of its path";
        Err(ConfigError::InvalidUrl { url: template.clone(), problem })
    }
}

/// Whether this is one segment of a path, whatever parses it.
fn is_path_segment(text: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    matches!(text.len(), 1..=MAX_TENANT_LEN) && text.bytes().all(is_unreserved) && text != "." && text != ".."
}

// By hand: closures are not `Debug`.
impl fmt::Debug for IssuerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerRule")
            .field("template", &self.template)
            .field("is_allowed", &format_args!("<fn>"))
            .field("keys", &format_args!("<fn>"))
            .field("limit", &self.limit)
            .finish()
    }
}
