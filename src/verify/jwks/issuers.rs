use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use super::{
    Issuer, IssuerKeys, IssuerRule, IssuerStatus, KeysError, StartError,
    client::DefaultClient,
    on_demand::{Added, OnDemand},
    refresh::RefreshTask,
};
use crate::error::ConfigError;

/// The issuers of a verifier that have their own key sets, and the task that refreshes these.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    configured: Vec<Arc<Issuer>>,
    /// The index of the issuer that tokens without `iss` are from.
    without_iss: Option<usize>,
    rules: Vec<Arc<OnDemand>>,
    /// `None` if all key sets are local.
    _task: Option<RefreshTask>,
}

/// What is known of the issuer that a token names.
pub(crate) enum Found<'a> {
    Known(KnownIssuer<'a>),
    /// A rule allows it, but it has not been added.
    Allowed(&'a Arc<OnDemand>),
}

/// An issuer with keys.
pub(crate) enum KnownIssuer<'a> {
    Configured(usize, &'a Arc<Issuer>),
    Added(Arc<Added>),
}

/// One generation of an issuer's keys.
#[derive(Clone)]
pub(crate) struct KeyGeneration {
    issuer: IssuerRef,
    generation: u64,
}

#[derive(Clone)]
enum IssuerRef {
    /// The index in [`Issuers`].
    Configured(usize),
    /// Does not keep a dropped issuer.
    Added(Weak<Added>),
}

impl Issuers {
    pub(crate) fn new(keys: Vec<IssuerKeys>, rules: Vec<IssuerRule>) -> Result<Self, ConfigError> {
        let mut configured: Vec<Arc<Issuer>> = Vec::with_capacity(keys.len());
        let mut refreshes = Vec::new();
        let mut without_iss = None;
        let default_client = Arc::new(DefaultClient::default());
        for keys in keys {
            let (issuer, refresh) = keys.build(&default_client)?;
            if let Some(name) = issuer.names().repeated_in(configured.iter().map(|other| other.names())) {
                return Err(ConfigError::DuplicateIssuer(name.to_owned()));
            }
            if issuer.names().missing && without_iss.replace(configured.len()).is_some() {
                return Err(ConfigError::DuplicateMissingIssuer(issuer.name().to_owned()));
            }
            configured.push(issuer);
            refreshes.extend(refresh);
        }
        rules.iter().try_for_each(IssuerRule::validate)?;
        if refreshes.is_empty() && rules.is_empty() {
            return Ok(Self { configured, without_iss, ..Self::default() });
        }
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        if !rules.is_empty() {
            // Now, so that no handshake waits for it. A failure matters only if a rule needs this client.
            let _ = default_client.get();
        }
        let task = (!refreshes.is_empty()).then(|| RefreshTask::spawn(&runtime, refreshes));
        let on_demand = |rule| OnDemand::new(rule, runtime.clone(), Arc::clone(&default_client));
        let rules = rules.into_iter().map(on_demand).collect();
        Ok(Self { configured, without_iss, rules, _task: task })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.configured.is_empty() && self.rules.is_empty()
    }

    /// Whether there is an issuer for tokens without `iss`.
    pub(crate) const fn allow_missing_iss(&self) -> bool {
        self.without_iss.is_some()
    }

    /// Finds the issuer of a token. The configured ones come first.
    pub(crate) fn find(&self, iss: Option<&str>) -> Option<Found<'_>> {
        let index = match iss {
            Some(iss) => self.configured.iter().position(|issuer| issuer.names().include(iss)),
            None => self.without_iss,
        };
        match index {
            Some(index) => Some(Found::Known(KnownIssuer::Configured(index, self.configured.get(index)?))),
            None => self.find_by_rule(iss?),
        }
    }

    fn find_by_rule(&self, iss: &str) -> Option<Found<'_>> {
        let added = self.rules.iter().find_map(|rule| rule.get(iss));
        let allowed = || self.rules.iter().find(|rule| rule.allows(iss));
        added.map(|added| Found::Known(KnownIssuer::Added(added))).or_else(|| allowed().map(Found::Allowed))
    }

    /// The names of the configured issuers, and what rules allow, for logs.
    pub(crate) fn expected(&self) -> impl Iterator<Item = String> {
        let rules = self.rules.iter().map(|rule| rule.expected());
        self.configured.iter().map(|issuer| issuer.name().to_owned()).chain(rules)
    }

    /// Whether these keys are still in use.
    pub(crate) fn is_current(&self, keys: &KeyGeneration) -> bool {
        let generation = match &keys.issuer {
            IssuerRef::Configured(index) => self.configured.get(*index).and_then(|issuer| issuer.generation()),
            IssuerRef::Added(added) => added.upgrade().and_then(|added| added.issuer().generation()),
        };
        generation == Some(keys.generation)
    }

    /// Notes that a token is valid that these keys have verified. Returns the name of its issuer.
    pub(crate) fn accept(&self, keys: &KeyGeneration, iss: Option<&str>) -> Option<Arc<str>> {
        match &keys.issuer {
            IssuerRef::Configured(index) => self.configured.get(*index).map(|issuer| issuer.issuer_of(iss)),
            IssuerRef::Added(added) => {
                let added = added.upgrade()?;
                added.mark_used();
                Some(added.issuer().issuer_of(iss))
            }
        }
    }

    /// The status of the configured issuers, then of those that rules have added.
    pub(crate) fn status(&self) -> Vec<IssuerStatus> {
        let added = self.rules.iter().flat_map(|rule| rule.issuers());
        self.configured.iter().cloned().chain(added).map(|issuer| IssuerStatus::of(&issuer)).collect()
    }

    pub(crate) async fn first_fetch(&self) -> Result<(), StartError> {
        for issuer in &self.configured {
            issuer.first_fetch().await.map_err(|source| start_error(issuer, source))?;
        }
        Ok(())
    }

    pub(crate) async fn ready(&self) -> Result<(), StartError> {
        for issuer in &self.configured {
            issuer.ready().await.map_err(|source| start_error(issuer, source))?;
        }
        Ok(())
    }
}

impl KnownIssuer<'_> {
    pub(crate) fn issuer(&self) -> &Arc<Issuer> {
        match self {
            Self::Configured(_, issuer) => issuer,
            Self::Added(added) => added.issuer(),
        }
    }

    /// A generation of its keys.
    pub(crate) fn keys(&self, generation: u64) -> KeyGeneration {
        let issuer = match self {
            Self::Configured(index, _) => IssuerRef::Configured(*index),
            Self::Added(added) => IssuerRef::Added(Arc::downgrade(added)),
        };
        KeyGeneration { issuer, generation }
    }
}

fn start_error(issuer: &Issuer, source: KeysError) -> StartError {
    StartError::Keys { issuer: issuer.name().to_owned(), source }
}
