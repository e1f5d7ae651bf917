use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Issuer, IssuerKeys, IssuerStatus, KeysError, StartError, client::DefaultClient, refresh::RefreshTask};
use crate::error::ConfigError;

/// The issuers of a verifier that have their own key sets, and the task that refreshes these.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    issuers: Vec<Arc<Issuer>>,
    /// `None` if all key sets are local.
    _task: Option<RefreshTask>,
}

impl Issuers {
    pub(crate) fn new(configured: Vec<IssuerKeys>) -> Result<Self, ConfigError> {
        let mut issuers: Vec<Arc<Issuer>> = Vec::with_capacity(configured.len());
        let mut refreshes = Vec::new();
        let default_client = DefaultClient::default();
        for keys in configured {
            let (issuer, refresh) = keys.build(&default_client)?;
            if issuers.iter().any(|other| other.name() == issuer.name()) {
                return Err(ConfigError::DuplicateIssuer(issuer.name().to_owned()));
            }
            issuers.push(issuer);
            refreshes.extend(refresh);
        }
        let task = if refreshes.is_empty() {
            None
        } else {
            let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
            Some(RefreshTask::spawn(&runtime, refreshes))
        };
        Ok(Self { issuers, _task: task })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Finds an issuer by name, with its index.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Arc<Issuer>)> {
        self.issuers.iter().enumerate().find(|(_, issuer)| issuer.name() == name)
    }

    /// The generation of an issuer's current keys; `None` if it has no usable keys.
    pub(crate) fn generation(&self, index: usize) -> Option<u64> {
        self.issuers.get(index)?.generation()
    }

    /// A number that changes whenever any issuer's keys change. `None` while an issuer has no usable keys.
    pub(crate) fn version(&self) -> Option<u64> {
        self.issuers.iter().try_fold(0, |sum: u64, issuer| Some(sum.wrapping_add(issuer.generation()?)))
    }

    pub(crate) fn status(&self) -> Vec<IssuerStatus> {
        self.issuers.iter().map(|issuer| IssuerStatus::of(issuer)).collect()
    }

    pub(crate) async fn first_fetch(&self) -> Result<(), StartError> {
        for issuer in &self.issuers {
            issuer.first_fetch().await.map_err(|source| start_error(issuer, source))?;
        }
        Ok(())
    }

    pub(crate) async fn ready(&self) -> Result<(), StartError> {
        for issuer in &self.issuers {
            issuer.ready().await.map_err(|source| start_error(issuer, source))?;
        }
        Ok(())
    }
}

fn start_error(issuer: &Issuer, source: KeysError) -> StartError {
    StartError::Keys { issuer: issuer.name().to_owned(), source }
}
