//! What an identity provider says of a session after it began, and what follows for open connections.
//!
//! An identity provider ends a session when the user logs out there, or an administrator locks the user out. With these
//! receivers it says so, and the connections are closed with [`EndReason::Revoked`](crate::EndReason::Revoked) on every
//! node. They turn a signed notice into a [`Revocation`](crate::Revocation), so all guarantees of
//! [`Revocations`](crate::Revocations) hold.
//!
//! | the provider sends | use |
//! | --- | --- |
//! | OpenID Connect Back-Channel Logout: Keycloak, Auth0, ZITADEL, Ping, Ory | [`BackChannelLogout`] |
//! | Universal Logout (Global Token Revocation): Okta | [`UniversalLogout`] |
//! | security events: Shared Signals with CAEP or RISC | [`SharedSignals`] |

mod answer;
mod back_channel;
mod body;
mod error;
mod issued;
mod resolve;
mod ssf;
mod subject;
mod universal;

pub use back_channel::BackChannelLogout;
pub use error::{SignalError, SignalErrorKind};
pub use resolve::ResolveSubject;
pub use ssf::{
    BearerToken, CredentialChange, DiscoverTransmitter, Poll, Polling, SecurityEvent, SecurityEventError,
    SecurityEventErrorKind, SharedSignals, SharedSignalsBuilder, SignalsStatus, Stream, StreamRequest, StreamState,
    Transmitter, TransmitterError, TransmitterErrorKind, transmitter_configuration_url,
};
pub use subject::{ComplexSubject, OtherSubject, ParseSubjectIdError, SubjectId};
pub use universal::UniversalLogout;
