//! Microsoft Entra: every tenant is an issuer, and all share one key set.

use std::{fmt, sync::Arc};

use super::IssuerKeys;

/// The `issuer` of the discovery document that all tenants share. It is not an issuer itself.
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
const METADATA: &str = "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration";
/// In place of a tenant, in documents of all tenants.
const ANY_TENANT: &str = "{tenantid}";

/// The tenants that are allowed, by their ids.
#[derive(Clone)]
pub(super) struct Tenants(Arc<dyn Fn(&str) -> bool + Send + Sync>);

/// The `issuer` of a key: Entra restricts some keys to one tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyIssuer<'a> {
    AnyTenant,
    Tenant(&'a str),
}

impl IssuerKeys {
    /// The keys of all tenants of Microsoft Entra (the worldwide cloud), for the tenants that `is_allowed` accepts.
    ///
    /// It gets the id of a tenant, a UUID in lower case, before the signature is checked. It runs on the threads that
    /// serve requests, so it must not block. Each tenant is an issuer of its own, so equal subjects of two tenants are
    /// two users. Personal accounts are in the tenant `9188040d-6c67-4c5b-b112-36a304b66dad`.
    ///
    /// A token is accepted if
    ///
    /// - its `iss` is `https://login.microsoftonline.com/TENANT/v2.0`, or `https://sts.windows.net/TENANT/` as in
    ///   tokens of version 1,
    /// - its `tid` is the same tenant, so that handlers can use either, and
    /// - the key that verifies it belongs to all tenants, or to this one (the member `issuer` of the key).
    ///
    /// An application for one tenant uses [`discover`](Self::discover) with the issuer of that tenant.
    ///
    /// ```
    /// use axum_ws_auth::jwks::IssuerKeys;
    ///
    /// let customers = ["8eaef023-2b34-4da1-9baa-8bc8c9d6a490", "82229342-1101-4ab6-817b-70c0747630f3"];
    /// let keys = IssuerKeys::entra_tenants(move |tenant| customers.contains(&tenant));
    /// ```
    pub fn entra_tenants(is_allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let mut keys = Self::discover_at(TEMPLATE, METADATA);
        keys.names.tenants = Some(Tenants(Arc::new(is_allowed)));
        keys
    }

    /// The keys of all tenants of Microsoft Entra, for every tenant; see [`entra_tenants`](Self::entra_tenants).
    ///
    /// Insecure because anyone can create a tenant, with users and tokens of their choice. The audience is then the
    /// only restriction. The application must decide by `tid` what each tenant may do.
    pub fn insecure_entra_any_tenant() -> Self {
        Self::entra_tenants(|_| true)
    }
}

impl Tenants {
    /// The tenant that this `iss` names, if it is allowed.
    pub(super) fn allowed<'a>(&self, iss: &'a str) -> Option<&'a str> {
        tenant_in(iss).filter(|tenant| is_uuid(tenant) && (self.0)(tenant))
    }
}

impl<'a> KeyIssuer<'a> {
    /// Parses the `issuer` of a key. `None` if it is not an issuer of Entra.
    pub(super) fn parse(issuer: &'a str) -> Option<Self> {
        match tenant_in(issuer)? {
            ANY_TENANT => Some(Self::AnyTenant),
            tenant => is_uuid(tenant).then_some(Self::Tenant(tenant)),
        }
    }
}

/// What an issuer of version 2 or version 1 has in the place of the tenant.
pub(super) fn tenant_in(issuer: &str) -> Option<&str> {
    let v2 = || issuer.strip_prefix("https://login.microsoftonline.com/")?.strip_suffix("/v2.0");
    v2().or_else(|| issuer.strip_prefix("https://sts.windows.net/")?.strip_suffix('/'))
}

/// Whether this is a UUID in lower case (RFC 9562 §4), so that no tenant or key has two names.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

// By hand: a closure is not `Debug`.
impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenants(<fn>)")
    }
}
