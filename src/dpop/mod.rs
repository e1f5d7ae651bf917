//! Proof of possession: tokens that are bound to a key of the client (DPoP, RFC 9449).

mod layer;
mod nonce;
mod proof;
mod rules;
mod settings;
mod uri;
mod verifier;

pub use verifier::Dpop;
