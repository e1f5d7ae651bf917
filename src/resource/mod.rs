//! Protected resource metadata (RFC 9728): where clients sign in.

mod metadata;
mod route;
mod url;

pub use metadata::{BearerMethod, ResourceMetadata};
