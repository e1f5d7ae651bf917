/// The close codes by which a WebSocket tells why it ended.
///
/// A page cannot see the status of a refused handshake, but it can see these. They are a choice and not constants,
/// because clients disagree on what they mean: a graphql-ws client never retries after 4401, and Centrifugo has other
/// uses for 3000.
///
/// | | [`IANA`](Self::IANA) | [`HTTP_LIKE`](Self::HTTP_LIKE) | [`GRAPHQL_WS`](Self::GRAPHQL_WS) |
/// | --- | --- | --- | --- |
/// | the request is malformed (400) | 1008 | 4400 | 4400 |
/// | sign in again (401) | 3000 | 4401 | 4401 |
/// | not allowed (403) | 3003 | 4403 | 4403 |
/// | try again later (503) | 1013 | 4503 | 1013 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCodes {
    pub(crate) bad_request: u16,
    pub(crate) unauthorized: u16,
    pub(crate) forbidden: u16,
    pub(crate) unavailable: u16,
}

impl CloseCodes {
    /// The codes registered at IANA: 3000 "unauthorized", 3003 "forbidden", 1013 "try again later".
    pub const IANA: Self = Self { bad_request: 1008, unauthorized: 3000, forbidden: 3003, unavailable: 1013 };

    /// 4000 and the HTTP status.
    pub const HTTP_LIKE: Self = Self { bad_request: 4400, unauthorized: 4401, forbidden: 4403, unavailable: 4503 };

    /// What the `graphql-transport-ws` protocol uses. Its clients give up on 4400 and 4401, and retry 4403 and 1013.
    pub const GRAPHQL_WS: Self = Self { bad_request: 4400, unauthorized: 4401, forbidden: 4403, unavailable: 1013 };
}
