//! A receiver of the Shared Signals Framework 1.0.

mod api;
mod bearer;
mod builder;
mod discover;
mod error;
mod event;
mod poll;
mod poll_message;
mod push;
mod receiver;
mod shared_signals;
mod status;
mod stream;
mod target;
mod transmitter;
mod transmitter_error;
mod verification;

pub use bearer::BearerToken;
pub use builder::SharedSignalsBuilder;
pub use discover::{DiscoverTransmitter, transmitter_configuration_url};
pub use error::{SecurityEventError, SecurityEventErrorKind};
pub use event::SecurityEvent;
pub use poll::{Poll, Polling};
pub use receiver::CredentialChange;
pub use shared_signals::SharedSignals;
pub use status::{SignalsStatus, StreamState};
pub use stream::{Stream, StreamRequest};
pub use transmitter::Transmitter;
pub use transmitter_error::{TransmitterError, TransmitterErrorKind};
