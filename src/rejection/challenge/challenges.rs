use super::{
    Challenge,
    write::{is_quotable, write},
};
use crate::{
    error::ConfigError,
    verify::{VerifyError, VerifyErrorKind, is_scope},
};

/// The challenges of a layer. Those that are the same for each refusal are written out once.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    server: Server,
    pub(in crate::rejection) bare: Challenge,
    pub(in crate::rejection) invalid_request: Challenge,
    pub(in crate::rejection) invalid_token: Challenge,
    pub(in crate::rejection) insufficient_scope: Challenge,
    pub(in crate::rejection) insufficient_user_authentication: Challenge,
}

/// What every challenge of a layer says.
#[derive(Clone, Debug)]
struct Server {
    /// `Bearer` comes first: clients of the Model Context Protocol read no other line.
    schemes: Vec<Scheme>,
    realm: String,
    /// What a client should ask for that has no token, or needs another one.
    scope: Option<String>,
    /// The URL of a document that says where to sign in (RFC 9728 §5.1).
    resource_metadata: Option<String>,
}

/// An authentication scheme that clients may use, with parameters of its own.
#[derive(Clone, Debug)]
struct Scheme {
    name: &'static str,
    params: Vec<(&'static str, String)>,
}

const BEARER: &str = "Bearer";
const DPOP: &str = "DPoP";
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";
const INSUFFICIENT_USER_AUTHENTICATION: &str = "insufficient_user_authentication";

impl Default for Challenges {
    /// Named `websocket`: the scheme must be followed by something (RFC 6750 §3).
    fn default() -> Self {
        let bearer = Scheme { name: BEARER, params: Vec::new() };
        let realm = "websocket".to_owned();
        Self::of(Server { schemes: vec![bearer], realm, scope: None, resource_metadata: None })
    }
}

impl Challenges {
    fn of(server: Server) -> Self {
        let scope = server.scope.as_deref();
        Self {
            bare: server.challenge(&[("scope", scope)]),
            invalid_request: server.challenge(&[("error", Some("invalid_request"))]),
            invalid_token: server.challenge(&[("error", Some("invalid_token")), ("scope", scope)]),
            // Another scope than the layer's may be missing, so none is named.
            insufficient_scope: server.challenge(&[("error", Some(INSUFFICIENT_SCOPE))]),
            insufficient_user_authentication: server
                .challenge(&[("error", Some(INSUFFICIENT_USER_AUTHENTICATION)), ("scope", scope)]),
            server,
        }
    }

    pub(crate) fn set_realm(&mut self, realm: &str) -> Result<(), ConfigError> {
        if realm.is_empty() {
            return Err(ConfigError::Empty("realm"));
        }
        if !is_quotable(realm) {
            return Err(ConfigError::InvalidRealm(realm.to_owned()));
        }
        self.set(|server| server.realm = realm.to_owned());
        Ok(())
    }

    pub(crate) fn set_scope(&mut self, scope: String) -> Result<(), ConfigError> {
        if !is_scope(&scope) {
            return Err(ConfigError::InvalidScope(scope));
        }
        self.set(|server| server.scope = Some(scope));
        Ok(())
    }

    pub(crate) fn set_resource_metadata(&mut self, url: &str) {
        self.set(|server| server.resource_metadata = Some(url.to_owned()));
    }

    /// Tells clients of bound tokens which algorithms their proofs may use (RFC 9449 §7.1).
    #[cfg(feature = "dpop")]
    pub(crate) fn set_dpop(&mut self, algorithms: String, accepts_bearer: bool) {
        self.set(|Server { schemes, .. }| {
            schemes.retain(|scheme| scheme.name != DPOP && (accepts_bearer || scheme.name != BEARER));
            schemes.push(Scheme { name: DPOP, params: vec![("algs", algorithms)] });
        });
    }

    /// The error concerns the proof of a bound token, so the other schemes do not mention it. `None` if the layer reads
    /// no proofs.
    pub(in crate::rejection) fn of_proof(&self, error: &str) -> Option<Challenge> {
        let is_known = self.server.schemes.iter().any(|scheme| scheme.name == DPOP);
        let scope = ("scope", self.server.scope.as_deref());
        is_known.then(|| {
            self.server.challenge_by(|scheme| [("error", (scheme.name == DPOP).then_some(error)), scope].into_iter())
        })
    }

    fn set(&mut self, change: impl FnOnce(&mut Server)) {
        let mut server = self.server.clone();
        change(&mut server);
        *self = Self::of(server);
    }

    /// Names what the request needs, as far as the error knows it and it can be written. `None` if that is nothing.
    pub(in crate::rejection) fn of_error(&self, error: &VerifyError) -> Option<Challenge> {
        let scope = error.scope().filter(|scope| is_scope(scope));
        match error.kind() {
            VerifyErrorKind::InsufficientScope => {
                Some(self.server.challenge(&[("error", Some(INSUFFICIENT_SCOPE)), ("scope", Some(scope?))]))
            }
            VerifyErrorKind::InsufficientUserAuthentication => {
                let max_age = error.max_age().map(|age| age.as_secs().to_string());
                Some(self.server.challenge(&[
                    ("error", Some(INSUFFICIENT_USER_AUTHENTICATION)),
                    ("acr_values", error.acr_values().filter(|values| is_scope(values))),
                    ("max_age", max_age.as_deref()),
                    ("scope", scope.or(self.server.scope.as_deref())),
                ]))
            }
            _ => None,
        }
    }
}

impl Server {
    /// A challenge for each scheme, with those of these parameters that have a value.
    fn challenge<'a>(&'a self, params: &[(&'a str, Option<&'a str>)]) -> Challenge {
        self.challenge_by(|_| params.iter().copied())
    }

    /// A challenge for each scheme, with parameters that depend on it.
    fn challenge_by<'a, P>(&'a self, params: impl Fn(&Scheme) -> P) -> Challenge
    where
        P: Iterator<Item = (&'a str, Option<&'a str>)>,
    {
        let realm = ("realm", Some(self.realm.as_str()));
        let metadata = ("resource_metadata", self.resource_metadata.as_deref());
        let lines = self.schemes.iter().filter_map(|scheme| {
            let own = scheme.params.iter().map(|(name, value)| (*name, Some(value.as_str())));
            let params = [realm].into_iter().chain(params(scheme)).chain(own).chain([metadata]);
            write(scheme.name, params.filter_map(|(name, value)| Some((name, value?))))
        });
        Challenge(lines.collect())
    }
}
