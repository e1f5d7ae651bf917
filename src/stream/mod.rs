//! Responses that go on: each ends with its session.

mod body;
mod comments;
mod ending;
mod event_boundary;
mod settings;

pub use settings::Streams;

pub(crate) use body::{SessionBody, goes_on};
pub(crate) use settings::Coverage;

use ending::Ending;
