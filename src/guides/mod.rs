#![doc = include_str!("guides.md")]

pub mod behind_a_proxy;

#[doc = include_str!("browsers.md")]
pub mod browsers {}

pub mod clients;

#[doc = include_str!("cookies.md")]
// Needs a library that is no dependency of this crate: tests/interop compiles it.
#[cfg_attr(not(doctest), doc = include_str!("with/tower_sessions.md"))]
pub mod cookies {}

#[doc = include_str!("dependencies.md")]
pub mod dependencies {}

#[doc = include_str!("first_messages.md")]
#[cfg_attr(not(doctest), doc = include_str!("with/async_graphql.md"))]
pub mod first_messages {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("nodes.md")]
pub mod nodes {}

#[doc = include_str!("operation.md")]
pub mod operation {}

pub mod providers;

#[doc = include_str!("testing.md")]
pub mod testing {}

#[doc = include_str!("threats.md")]
pub mod threats {}

#[doc = include_str!("tokens.md")]
pub mod tokens {}
