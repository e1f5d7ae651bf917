//! Tokens of an AWS Application Load Balancer that signs in users itself.

mod arn;
mod builder;
mod token;
mod verifier;

pub use builder::AlbVerifierBuilder;
pub use verifier::AlbVerifier;
