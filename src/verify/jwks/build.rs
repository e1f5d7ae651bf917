//! Validates an issuer's configuration and builds the issuer.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    Issuer, IssuerKeys,
    client::DefaultClient,
    fetch::{Fetcher, Target},
    issuer::Remote,
    issuer_keys::Location,
    json_client::JsonClient,
    refresh::{IssuerRefresh, Timing},
    schedule::FetchSchedule,
    set::SetSource,
};
use crate::{error::ConfigError, http_client::UrlPolicy, lock::Mutex};

/// A year. Some clocks cannot represent times that are much further away.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

impl IssuerKeys {
    /// Builds the issuer and, unless its keys are local, the loop that refreshes them. Issuers share the default
    /// client.
    pub(super) fn build(
        self,
        default_client: &DefaultClient,
    ) -> Result<(Arc<Issuer>, Option<IssuerRefresh>), ConfigError> {
        self.validate()?;
        let url = |text: &str| UrlPolicy::parse(text, self.insecure_http);
        let (target, url_policy) = match self.location {
            Location::Metadata(text) => url(&text).map(|(url, policy)| (Target::Metadata(url), policy))?,
            Location::Jwks(text) => url(&text).map(|(url, policy)| (Target::Jwks(url), policy))?,
            Location::Pem(text) => url(&text).map(|(url, policy)| (Target::Pem(url), policy))?,
            Location::Local(set) => {
                let list = set.keys(self.algorithms.as_deref(), SetSource::Local);
                if list.usable.is_empty() {
                    let issuer = self.names.canonical.to_string();
                    return Err(ConfigError::NoUsableKey { problems: list.problems(), issuer });
                }
                return Ok((Arc::new(Issuer::with_local_keys(self.names, list)), None));
            }
        };
        let client = self.client.map_or_else(|| default_client.get(), Ok)?;
        let (finished_sender, finished) = watch::channel(0);
        let remote = Arc::new(Remote {
            algorithms: self.algorithms.clone(),
            schedule: Mutex::new(FetchSchedule::new(Instant::now())),
            wake: Notify::new(),
            finished,
            wait_timeout: self.timing.timeout + Duration::from_secs(1),
        });
        let fetcher = Fetcher {
            issuer: Arc::clone(&self.names.canonical),
            source: if self.names.tenants.is_some() { SetSource::Tenants } else { SetSource::Network },
            target,
            client: JsonClient { client, url_policy, fresh_for: self.fresh_for.into_inner() },
            algorithms: self.algorithms,
            timeout: self.timing.timeout,
        };
        let issuer = Arc::new(Issuer::with_remote_keys(self.names, Arc::clone(&remote)));
        let refresh = IssuerRefresh {
            issuer: Arc::clone(&issuer),
            remote,
            fetcher: Arc::new(fetcher),
            finished: finished_sender,
            timing: self.timing,
            is_of_rule: false,
        };
        Ok((issuer, Some(refresh)))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.names.validate()?;
        if self.algorithms.as_ref().is_some_and(Vec::is_empty) {
            return Err(ConfigError::Empty("list of algorithms"));
        }
        let Timing { timeout, cool_down, max_stale } = self.timing;
        for (what, duration) in [
            ("key fetch timeout", timeout),
            ("minimum refresh interval", *self.fresh_for.start()),
            ("key fetch cool-down", cool_down),
            ("maximum age of stale keys", max_stale),
        ] {
            if duration.is_zero() {
                return Err(ConfigError::ZeroDuration(what));
            }
            if duration > MAX_DURATION {
                return Err(ConfigError::LongDuration(what));
            }
        }
        if self.fresh_for.is_empty() || *self.fresh_for.end() > max_stale {
            return Err(ConfigError::InvalidRefreshInterval);
        }
        Ok(())
    }
}
