//! Protocols in use.

use serde_json::json;

use super::{FirstMessage, protocols};
use crate::session::CloseCodes;

impl FirstMessage {
    /// The JSON text `{"type":"auth.token","token":"…"}`, in the style of
    /// [`RefreshProtocol::json`](crate::RefreshProtocol::json). The page's client in `clients/js` sends it.
    ///
    /// The handler does not receive it. Nothing is sent to accepted clients: set
    /// [`RefreshProtocol::greeting`](crate::RefreshProtocol::greeting) to tell them their session.
    ///
    /// With the feature `dpop`, the member `dpop` is the proof of a [bound token](crate::Dpop).
    pub fn json() -> Self {
        Self::new(protocols::json)
    }

    /// The protocol `graphql-transport-ws`, and its predecessor `graphql-ws`. The token is in the payload of
    /// `connection_init`:
    ///
    /// | member of the payload | clients |
    /// | --- | --- |
    /// | `Authorization` | Apollo Client, Apollo iOS, Relay, urql, GraphiQL |
    /// | `headers.Authorization` | Hasura, Nhost, Apollo Kotlin |
    /// | `authToken` | Apollo Client, Strawberry |
    /// | `authentication` | Apollo Server |
    /// | `token`, `accessToken`, `access_token` | others |
    ///
    /// Names are case-insensitive, and `Bearer` may precede the token in all of them. A member that is `null` or empty
    /// is ignored: a page sends that if its user has not signed in. Several members may contain the same token. If they
    /// contain different tokens, there is no token.
    ///
    /// With the feature `dpop`, the member `dpop` is the proof of a [bound token](crate::Dpop), and `DPoP` may precede
    /// the token.
    ///
    /// The handler receives `connection_init` without the token, and responds to it. The close codes are
    /// [`CloseCodes::GRAPHQL_WS`] unless the layer sets others: 4403 for a refused client, 4408 for one that sends
    /// nothing.
    pub fn graphql_ws() -> Self {
        Self::new(protocols::graphql_ws).with_close_codes(CloseCodes::GRAPHQL_WS)
    }

    /// The protocol of Home Assistant. The server sends `auth_required`, the client
    /// `{"type":"auth","access_token":"…"}`, and the server `auth_ok` or `auth_invalid`.
    ///
    /// After `auth_invalid` the client never reconnects. So it is only sent to a client whose token is invalid. If the
    /// refusal is [temporary](crate::RejectionKind::is_temporary), the connection is closed without it.
    ///
    /// The client chooses its features by the version of Home Assistant that it is sent. This is 2022.8.0, because with
    /// a later version, clients start with a command that enables features. To set another version, use
    /// [`home_assistant_as`](Self::home_assistant_as).
    pub fn home_assistant() -> Self {
        Self::home_assistant_as("2022.8.0")
    }

    /// The protocol of Home Assistant, with the version that clients are sent.
    pub fn home_assistant_as(version: impl AsRef<str>) -> Self {
        let with_version = |kind| json!({ "type": kind, "ha_version": version.as_ref() }).to_string();
        Self::new(protocols::home_assistant)
            .greeting(with_version("auth_required"))
            .accepted(with_version("auth_ok"))
            .refused(r#"{"type":"auth_invalid","message":"Invalid access token"}"#)
    }

    /// The JSON protocol of Centrifugo. The token is in the first command, `{"id":1,"connect":{"token":"…"}}`.
    ///
    /// The handler receives the message without the token, with one command per line, and responds to it.
    ///
    /// The response to an expired token is Centrifugo's error 109, after which clients reconnect with another token
    /// (`getToken`). Other refusals have the close code only. The close codes are [`CloseCodes::CENTRIFUGO`] unless the
    /// layer sets others.
    ///
    /// For refreshes see [`RefreshProtocol::centrifugo`](crate::RefreshProtocol::centrifugo).
    pub fn centrifugo() -> Self {
        Self::new(protocols::centrifugo)
            .with_close_codes(CloseCodes::CENTRIFUGO)
            .refused_with(protocols::centrifugo_error)
    }
}
