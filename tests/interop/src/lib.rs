//! Compiles the code in the guides that needs these libraries.

#[cfg(doctest)]
#[doc = include_str!("../../../src/guides/with/tower_sessions.md")]
struct TowerSessions;

#[cfg(doctest)]
#[doc = include_str!("../../../src/guides/with/async_graphql.md")]
struct AsyncGraphql;
