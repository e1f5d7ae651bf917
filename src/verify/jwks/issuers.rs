use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Issuer, IssuerKeys, IssuerStatus, KeysError, StartError, fetch::BuiltIn, refresh::Refresher};
use crate::error::ConfigError;

/// The issuers of a verifier that have keys of their own, with the task that keeps these fresh.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    issuers: Vec<Arc<Issuer>>,
    /// Nothing to fetch needs no task.
    _refresher: Option<Refresher>,
}

impl Issuers {
    pub(crate) fn new(configured: Vec<IssuerKeys>) -> Result<Self, ConfigError> {
        let mut issuers: Vec<Arc<Issuer>> = Vec::with_capacity(configured.len());
        let mut refreshes = Vec::new();
        let built_in = BuiltIn::default();
        for keys in configured {
            let (issuer, refresh) = keys.begin(&built_in)?;
            if issuers.iter().any(|other| other.name() == issuer.name()) {
                return Err(ConfigError::DuplicateIssuer(issuer.name().to_owned()));
            }
            issuers.push(issuer);
            refreshes.extend(refresh);
        }
        let refresher = if refreshes.is_empty() {
            None
        } else {
            let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
            Some(Refresher::spawn(&runtime, refreshes))
        };
        Ok(Self { issuers, _refresher: refresher })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Arc<Issuer>)> {
        self.issuers.iter().enumerate().find(|(_, issuer)| issuer.name() == name)
    }

    /// Which keys of this issuer may be used now; `None` if none may.
    pub(crate) fn generation(&self, index: usize) -> Option<u64> {
        self.issuers.get(index)?.generation()
    }

    /// Counts up with every change of the keys of any issuer; `None` where the keys of one may not be used.
    pub(crate) fn changes(&self) -> Option<u64> {
        self.issuers.iter().try_fold(0, |sum: u64, issuer| Some(sum.wrapping_add(issuer.generation()?)))
    }

    pub(crate) fn status(&self) -> Vec<IssuerStatus> {
        self.issuers.iter().map(|issuer| IssuerStatus::of(issuer)).collect()
    }

    pub(crate) async fn attempted(&self) -> Result<(), StartError> {
        for issuer in &self.issuers {
            issuer.attempted().await.map_err(|source| failed(issuer, source))?;
        }
        Ok(())
    }

    pub(crate) async fn ready(&self) -> Result<(), StartError> {
        for issuer in &self.issuers {
            issuer.ready().await.map_err(|source| failed(issuer, source))?;
        }
        Ok(())
    }
}

fn failed(issuer: &Issuer, source: KeysError) -> StartError {
    StartError::Keys { issuer: issuer.name().to_owned(), source }
}
