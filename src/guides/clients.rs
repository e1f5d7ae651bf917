//! Clients: new tokens, refreshes, and when to stop.
//!
//! Pages that are refused again and again usually have one of two bugs: they read a token once and offer it at every
//! attempt, or they reconnect whatever the server says. A client needs a *function* for its token, and has to read the
//! reason in the close frame. [`accept_then_close`](crate::WsAuthLayer::accept_then_close) gives a page that reason for
//! refused handshakes too.
//!
//! # The client of this crate
//!
//! `clients/js` in the repository is an ES module without dependencies (6 kB minified and compressed): `AuthSocket`,
//! and `AuthEventSource` for event streams. Both ask for a token at every attempt, wait at random, and know what each
//! reason means. The tests run them in Node, Chromium and Firefox.
//!
//! ```js
//! import { AuthSocket } from "axum-ws-auth-client";
//!
//! // `null`: nobody is signed in. If it throws, it is asked again later.
//! const token = async ({ signal }) => {
//!   const response = await fetch("/token", { signal });
//!   if (response.status === 401) return null;
//!   if (!response.ok) throw new Error(`no token: ${response.status}`);
//!   return response.text();
//! };
//! // `refresh`: for RefreshProtocol::json().greeting().
//! const socket = new AuthSocket("/chat", { token, refresh: true });
//! socket.onopen = () => socket.send("hello");
//! socket.onmessage = ({ data }) => console.log(data);
//! socket.onsigninneeded = () => location.assign("/sign-in");
//! ```
//!
//! Its `README.md` has the other ways to send a token (ticket, cookie, first message), the refresh over HTTP, and the
//! table of reasons.
//!
//! # Clients that you keep
//!
//! Each of these functions takes `getToken`, an async function, and `onSignInNeeded`. Each goes on after the reasons in
//! `GOES_ON`, and stops after all others. The tests run them with the packages in Node: the token expires and a new one
//! is fetched, the session is revoked and no attempt follows, a bad token is offered once.
//!
//! ## partysocket
//!
//! The default token sources, and `accept_then_close`.
//!
//! ```js
#![doc = include_str!("../../clients/js/recipes/partysocket.mjs")]
//! ```
//!
//! ## Phoenix
//!
//! [`TokenSource::phoenix`](crate::TokenSource::phoenix), with
//! [`subprotocols(["phoenix"])`](crate::WsAuthLayer::subprotocols) and `accept_then_close`.
//!
//! ```js
#![doc = include_str!("../../clients/js/recipes/phoenix.mjs")]
//! ```
//!
//! ## graphql-ws
//!
//! [`FirstMessage::graphql_ws`](crate::FirstMessage::graphql_ws), which brings its close codes. Apollo Client, urql and
//! Relay pass these options on.
//!
//! ```js
#![doc = include_str!("../../clients/js/recipes/graphql-ws.mjs")]
//! ```
//!
//! ## SignalR
//!
//! The default sources for clients with headers. A page needs
//! [`TokenSource::query("access_token")`](crate::TokenSource::query) too. `accept_then_close` would be of no use: the
//! package asks `negotiate` first, and sees its 401.
//!
//! ```js
#![doc = include_str!("../../clients/js/recipes/signalr.mjs")]
//! ```
//!
//! ## socket.io
//!
//! The default sources. The package can offer subprotocols, so it needs no polling requests with a header. Its protocol
//! has no close code: the server's task that waits for the end of the session first emits the reason as an event
//! `auth.ended`, with [`EndReason::as_str`](crate::EndReason::as_str), and then disconnects the socket.
//!
//! ```js
#![doc = include_str!("../../clients/js/recipes/socket.io.mjs")]
//! ```
//!
//! ## Centrifuge
//!
//! [`FirstMessage::centrifugo`](crate::FirstMessage::centrifugo) and
//! [`RefreshProtocol::centrifugo`](crate::RefreshProtocol::centrifugo). The package needs no list of reasons, because
//! the close codes of [`CloseCodes::CENTRIFUGO`](crate::CloseCodes::CENTRIFUGO) say which are final.
//!
//! ```js
#![doc = include_str!("../../clients/js/recipes/centrifuge.mjs")]
//! ```
