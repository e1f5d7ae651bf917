//! Verifiers: what turns a token into claims.

#[cfg(feature = "jwt")]
mod cached;
mod combine;
mod compared;
mod erased;
mod error;
mod function;
mod input;
#[cfg(feature = "introspection")]
pub mod introspection;
#[cfg(feature = "jwks")]
pub mod jwks;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "jwt")]
mod keys;
mod path;
mod recheck;
mod scope;
mod step_up;
mod verified;
mod verifier;

#[cfg(feature = "jwt")]
pub use cached::CachedVerifier;
pub use combine::{Authorize, AuthorizeAsync, Map, Or};
pub use error::{VerifyError, VerifyErrorKind};
pub use function::{VerifierFn, verifier_fn};
pub use input::{FromVerifyInput, OwnedVerifyInput, VerifyInput};
pub use path::PathParams;
pub use recheck::Recheck;
pub use step_up::StepUp;
pub use verified::Verified;
pub use verifier::Verifier;

pub(crate) use erased::VerifierOf;
pub(crate) use input::IsRecheck;
pub(crate) use path::{client_path, matched_params};
pub(crate) use recheck::Check;
pub(crate) use scope::{is_scope, is_scope_token};
