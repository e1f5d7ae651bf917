//! What an identity provider says of a session after it began, and what follows for open connections.
