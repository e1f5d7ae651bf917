//! Which `iss` an issuer answers to.

use std::sync::Arc;

use super::entra::Tenants;
use crate::error::ConfigError;

/// The names of one issuer.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The name that sessions and revocations know. That of tenants is a template, which no token may name.
    pub(super) canonical: Arc<str>,
    pub(super) aliases: Vec<String>,
    /// Set if every tenant of a provider is an issuer, and they share these keys.
    pub(super) tenants: Option<Tenants>,
    /// Whether a token without `iss` is from this issuer.
    pub(super) missing: bool,
}

impl Names {
    pub(super) fn new(canonical: String) -> Self {
        Self { canonical: Arc::from(canonical), aliases: Vec::new(), tenants: None, missing: false }
    }

    /// Whether a token with this `iss` is from this issuer.
    pub(super) fn include(&self, iss: &str) -> bool {
        match &self.tenants {
            None => *self.canonical == *iss || self.aliases.iter().any(|alias| alias == iss),
            Some(tenants) => tenants.allowed(iss).is_some(),
        }
    }

    /// The issuer of a token with this `iss`. Tenants are issuers of their own.
    pub(super) fn issuer_of(&self, iss: Option<&str>) -> Arc<str> {
        match iss {
            Some(iss) if self.tenants.is_some() => Arc::from(iss),
            _ => Arc::clone(&self.canonical),
        }
    }

    /// Whether the only name is this one.
    pub(super) fn are_only(&self, name: &str) -> bool {
        *self.canonical == *name && self.aliases.is_empty() && self.tenants.is_none() && !self.missing
    }

    /// A name that is repeated, here or in the other names.
    pub(super) fn repeated_in<'a>(&'a self, others: impl Iterator<Item = &'a Self>) -> Option<&'a str> {
        let own: Vec<&str> = self.all().collect();
        let within = own.iter().enumerate().find(|(index, name)| own.iter().take(*index).any(|other| other == *name));
        let across = || others.flat_map(Self::all).find(|name| own.contains(name));
        within.map(|(_, name)| *name).or_else(across)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.all().any(str::is_empty) { Err(ConfigError::Empty("issuer")) } else { Ok(()) }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.canonical).chain(self.aliases.iter().map(String::as_str))
    }
}
