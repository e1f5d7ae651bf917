use super::{
    Challenge,
    write::{is_quotable, is_scope, write},
};
use crate::error::ConfigError;

/// The challenges of a layer. Those that are the same for each refusal are written out once.
#[derive(Clone, Debug)]
pub(crate) struct Challenges {
    server: Server,
    pub(in crate::rejection) bare: Challenge,
    pub(in crate::rejection) invalid_request: Challenge,
    pub(in crate::rejection) invalid_token: Challenge,
    pub(in crate::rejection) insufficient_scope: Challenge,
}

/// What every challenge of a layer says.
#[derive(Clone, Debug)]
struct Server {
    schemes: Vec<Scheme>,
    realm: String,
}

/// An authentication scheme that clients may use, with parameters of its own.
#[derive(Clone, Debug)]
struct Scheme {
    name: &'static str,
    params: Vec<(&'static str, String)>,
}

impl Default for Challenges {
    /// Named `websocket`: the scheme must be followed by something (RFC 6750 §3).
    fn default() -> Self {
        let bearer = Scheme { name: "Bearer", params: Vec::new() };
        Self::of(Server { schemes: vec![bearer], realm: "websocket".to_owned() })
    }
}

impl Challenges {
    fn of(server: Server) -> Self {
        Self {
            bare: server.challenge(&[]),
            invalid_request: server.challenge(&[("error", "invalid_request")]),
            invalid_token: server.challenge(&[("error", "invalid_token")]),
            insufficient_scope: server.challenge(&[("error", "insufficient_scope")]),
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
        self.server.realm = realm.to_owned();
        *self = Self::of(self.server.clone());
        Ok(())
    }

    /// Names the scope that the request needs, if it can be written.
    pub(in crate::rejection) fn insufficient_scope_of(&self, scope: &str) -> Option<Challenge> {
        is_scope(scope).then(|| self.server.challenge(&[("error", "insufficient_scope"), ("scope", scope)]))
    }
}

impl Server {
    /// A challenge for each scheme, with these parameters.
    fn challenge(&self, params: &[(&str, &str)]) -> Challenge {
        let lines = self.schemes.iter().filter_map(|scheme| {
            let own = scheme.params.iter().map(|(name, value)| (*name, value.as_str()));
            let params = [("realm", self.realm.as_str())].into_iter().chain(params.iter().copied()).chain(own);
            write(scheme.name, params)
        });
        Challenge(lines.collect())
    }
}
