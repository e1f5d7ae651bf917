use axum::{Router, routing::MethodRouter};
use serde_json::{Map, Value};

use super::{
    route::route,
    url::{MetadataUrl, check_issuer, parse},
};
use crate::{error::ConfigError, verify::is_scope_token};

#[allow(unused_imports, reason = "for the docs")]
use crate::verify::VerifyError;

/// The metadata of a protected resource (RFC 9728): which authorization servers issue tokens for it, and for which
/// scopes.
///
/// A client that has no token reads the URL of this document in the challenge
/// ([`WsAuthLayer::resource_metadata`](crate::WsAuthLayer::resource_metadata)), and learns here where to sign in.
/// Servers of the Model Context Protocol must publish it (revision 2025-06-18 and later).
///
/// The document is public, so its [route](Self::router) is *outside* the layer.
///
/// # Example
///
/// ```
/// use axum::{Router, body::Body, http::{Request, StatusCode}, routing::any};
/// use axum_ws_auth::{ConfigError, ResourceMetadata, WsAuthLayer, test_util};
/// use http_body_util::BodyExt;
/// use serde_json::{Value, json};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metadata = ResourceMetadata::new("https://api.example.com/mcp")?
///     .authorization_servers(["https://id.example.com"])?
///     .scopes_supported(["files:read", "files:write"])?;
/// let layer = WsAuthLayer::new(test_util::verifier::<Value>())
///     .resource_metadata(&metadata)
///     .challenge_scope("files:read")?;
/// let app = Router::new().route("/mcp", any(test_util::echo)).layer(layer).merge(metadata.router());
///
/// // The challenge names the document …
/// let response = app.clone().oneshot(Request::get("/mcp").body(Body::empty())?).await?;
/// assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(
///     response.headers()["www-authenticate"],
///     "Bearer realm=\"websocket\", scope=\"files:read\", \
///      resource_metadata=\"https://api.example.com/.well-known/oauth-protected-resource/mcp\"",
/// );
///
/// // … which needs no token.
/// let request = Request::get("/.well-known/oauth-protected-resource/mcp").body(Body::empty())?;
/// let body = app.oneshot(request).await?.into_body().collect().await?.to_bytes();
/// assert_eq!(
///     serde_json::from_slice::<Value>(&body)?,
///     json!({
///         "resource": "https://api.example.com/mcp",
///         "authorization_servers": ["https://id.example.com"],
///         "bearer_methods_supported": ["header"],
///         "scopes_supported": ["files:read", "files:write"],
///     }),
/// );
///
/// // No: clients would send their tokens in plain text.
/// let error = ResourceMetadata::new("http://api.example.com/mcp").map(drop);
/// assert!(matches!(error, Err(ConfigError::InvalidUrl { .. })));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ResourceMetadata {
    location: MetadataUrl,
    members: Map<String, Value>,
}

/// How clients may send a bearer token (RFC 6750 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerMethod {
    /// `header`: in `Authorization`.
    Header,
    /// `body`: in a form. This crate does not read it, but another handler of the resource may.
    Body,
    /// `query`: as the parameter `access_token`, which RFC 9700 §4.3.2 forbids for new applications.
    Query,
}

impl ResourceMetadata {
    /// The metadata of the resource with this URL. The URL must be the one that clients use: they refuse a document
    /// with another `resource` (RFC 9728 §3.3). For a server of the Model Context Protocol, it is the URL of its
    /// endpoint. The standard knows no `wss`: write `https`.
    ///
    /// # Errors
    ///
    /// If it is no absolute `https` URL, or has a fragment or credentials. `http` is allowed for loopback addresses. A
    /// segment of the path must not begin with `:` or `*`, which axum reserves.
    pub fn new(resource: &str) -> Result<Self, ConfigError> {
        let location = MetadataUrl::of_resource(resource)?;
        let metadata = Self { location, members: Map::new() };
        Ok(metadata.set("resource", resource).bearer_methods_supported([BearerMethod::Header]))
    }

    /// Names the issuers of the authorization servers that issue tokens for the resource. Usually it is the issuer that
    /// the verifier accepts. Defaults to none: the member is missing, and clients must know where to sign in.
    ///
    /// # Errors
    ///
    /// If one is no absolute `https` URL, or has a query, a fragment or credentials. `http` is allowed for loopback
    /// addresses.
    pub fn authorization_servers<I>(self, issuers: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let issuers: Vec<String> = issuers.into_iter().map(Into::into).collect();
        issuers.iter().try_for_each(|issuer| check_issuer(issuer))?;
        Ok(self.set_list("authorization_servers", issuers))
    }

    /// Names the scopes that are of use here. Defaults to none: the member is missing.
    ///
    /// A client that finds no `scope` in a challenge asks for all of these. To have it ask for less, set
    /// [`WsAuthLayer::challenge_scope`](crate::WsAuthLayer::challenge_scope).
    ///
    /// # Errors
    ///
    /// If one is empty, or holds a character that RFC 6749 §3.3 does not allow, such as a space.
    pub fn scopes_supported<I>(self, scopes: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let scopes: Vec<String> = scopes.into_iter().map(Into::into).collect();
        match scopes.iter().find(|scope| !is_scope_token(scope)) {
            Some(scope) => Err(ConfigError::InvalidScope(scope.clone())),
            None => Ok(self.set_list("scopes_supported", scopes)),
        }
    }

    /// Sets how clients may send a bearer token. An empty list says that they may not, but may use another scheme.
    ///
    /// Defaults to [`BearerMethod::Header`], which the layer accepts unless its
    /// [`sources`](crate::WsAuthLayer::sources) say otherwise. The standard has no word for a token in a subprotocol.
    pub fn bearer_methods_supported(self, methods: impl IntoIterator<Item = BearerMethod>) -> Self {
        let methods: Vec<_> = methods.into_iter().map(BearerMethod::name).collect();
        // Kept if it is empty: that means that no method is supported (RFC 9728 §2).
        self.set("bearer_methods_supported", methods)
    }

    /// Sets the name of the resource that clients show to users. Defaults to none.
    pub fn resource_name(self, name: impl Into<String>) -> Self {
        self.set("resource_name", name.into())
    }

    /// Sets the URL of a page for developers. Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is no absolute `https` URL, or has a fragment or credentials. `http` is allowed for loopback addresses.
    pub fn resource_documentation(self, url: impl Into<String>) -> Result<Self, ConfigError> {
        self.set_url("resource_documentation", url.into())
    }

    /// Sets the URL of the keys with which the resource signs or receives. These are not the keys of its tokens.
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// As for [`resource_documentation`](Self::resource_documentation).
    pub fn jwks_uri(self, url: impl Into<String>) -> Result<Self, ConfigError> {
        self.set_url("jwks_uri", url.into())
    }

    /// Says that the resource accepts no token but those that DPoP (RFC 9449) binds to a key of the client. Defaults to
    /// saying nothing, which means no.
    pub fn dpop_bound_access_tokens_required(self) -> Self {
        self.set("dpop_bound_access_tokens_required", true)
    }

    /// Says that tokens may be bound to the client's certificate (RFC 8705 §3). Defaults to saying nothing, which means
    /// no.
    pub fn tls_client_certificate_bound_access_tokens(self) -> Self {
        self.set("tls_client_certificate_bound_access_tokens", true)
    }

    /// Adds any other member: `dpop_signing_alg_values_supported`, `resource_policy_uri`, or a name in another
    /// language, `resource_name#de` (RFC 9728 §2.1). A `null` and an empty list are left out (RFC 9728 §3.2).
    ///
    /// # Errors
    ///
    /// If a method above is for that member.
    pub fn member(self, name: impl Into<String>, value: impl Into<Value>) -> Result<Self, ConfigError> {
        const OWN: [&str; 9] = [
            "resource",
            "authorization_servers",
            "scopes_supported",
            "bearer_methods_supported",
            "resource_name",
            "resource_documentation",
            "jwks_uri",
            "dpop_bound_access_tokens_required",
            "tls_client_certificate_bound_access_tokens",
        ];
        let (name, value) = (name.into(), value.into());
        if OWN.contains(&&*name) {
            return Err(ConfigError::ReservedMember(name));
        }
        let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        Ok(if is_empty { self } else { self.set(&name, value) })
    }

    /// Where clients find the document: `https://api.example.com/.well-known/oauth-protected-resource/mcp`. The path of
    /// the resource comes last, and its query after that (RFC 9728 §3.1).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.location.url
    }

    /// The path of that URL. The [route](Self::route) must be there, also if the application is nested elsewhere or a
    /// proxy removes a prefix of its paths.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.location.path
    }

    /// The document.
    #[must_use]
    pub fn to_json(&self) -> String {
        Value::Object(self.members.clone()).to_string()
    }

    /// Answers `GET` with the document. Pages of any origin may read it, and may keep it for five minutes. The route
    /// also answers `OPTIONS`: a page that adds a header of its own, such as `MCP-Protocol-Version`, asks first.
    ///
    /// Put it at [`path`](Self::path), outside the layer, or use [`router`](Self::router).
    pub fn route<S: Clone + Send + Sync + 'static>(&self) -> MethodRouter<S> {
        route(self.to_json())
    }

    /// A router with this [route](Self::route) at its [path](Self::path), to be merged into that of the application,
    /// outside the layer.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        Router::new().route(self.path(), self.route())
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// A list without entries is left out (RFC 9728 §3.2).
    fn set_list(mut self, name: &str, values: Vec<String>) -> Self {
        self.members.remove(name);
        if values.is_empty() { self } else { self.set(name, values) }
    }

    fn set_url(self, name: &str, url: String) -> Result<Self, ConfigError> {
        parse(&url)?;
        Ok(self.set(name, url))
    }
}

impl BearerMethod {
    const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::Query => "query",
        }
    }
}
