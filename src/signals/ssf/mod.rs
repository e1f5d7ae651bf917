//! A receiver of the Shared Signals Framework 1.0.

mod api;
mod builder;
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
mod verification;

pub use api::{BearerToken, TransmitterError, TransmitterErrorKind};
pub use builder::SharedSignalsBuilder;
pub use error::{SecurityEventError, SecurityEventErrorKind};
pub use event::SecurityEvent;
pub use poll::{Poll, Polling};
pub use receiver::CredentialChange;
pub use shared_signals::SharedSignals;
pub use status::{SignalsStatus, StreamState};
pub use stream::{Stream, StreamRequest};
pub use transmitter::{DiscoverTransmitter, Transmitter, transmitter_configuration_url};
