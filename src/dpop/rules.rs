use std::{fmt, sync::Arc, time::Duration};

use super::{nonce::Nonces, uri::BaseUrl};
use crate::{store::DynTicketStore, telemetry::Throttle, verify::jwt::Algorithm};

/// Which proofs are accepted.
#[derive(Clone)]
pub(super) struct Rules {
    pub(super) base: BaseUrl,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) max_age: Duration,
    pub(super) accepts_bearer: bool,
    pub(super) nonces: Option<Nonces>,
    /// Where it is noted that a proof was used.
    pub(super) used: Arc<dyn DynTicketStore>,
    pub(super) not_noted: Arc<Throttle>,
}

impl Rules {
    /// The `algs` of a challenge (RFC 9449 §7.1).
    pub(super) fn algorithm_names(&self) -> String {
        let names: Vec<String> = self.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
        // RFC 9864 gives `EdDSA` on this curve a name of its own.
        names.join(" ").replace("EdDSA", "EdDSA Ed25519")
    }
}

// By hand: a store has no `Debug`, and a nonce has a secret.
impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("base", &self.base)
            .field("algorithms", &self.algorithms)
            .field("max_age", &self.max_age)
            .field("accepts_bearer", &self.accepts_bearer)
            .field("requires_nonce", &self.nonces.is_some())
            .finish_non_exhaustive()
    }
}
