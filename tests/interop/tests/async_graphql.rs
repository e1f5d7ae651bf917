//! A subscription of async-graphql, closed when its session ends.

mod support;

use async_graphql::{Context, Data, EmptyMutation, Object, Schema, Subscription, http::ALL_WEBSOCKET_PROTOCOLS};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::{Router, extract::State, response::Response, routing::any};
use axum_ws_auth::{AuthenticatedUpgrade, FirstMessage, Session, Sessions};
use futures_util::{SinkExt, Stream, StreamExt, stream};
use serde_json::{Value, json};
use support::{Client, closed, connect_with, layer, next, serve, slot_freed};
use tokio_tungstenite::tungstenite::Message;

struct Query;

#[Object]
impl Query {
    async fn version(&self) -> u32 {
        1
    }
}

struct Subscriptions;

#[Subscription]
impl Subscriptions {
    /// Says who is subscribed, and then nothing.
    async fn me(&self, context: &Context<'_>) -> impl Stream<Item = String> + use<> {
        let session = context.data_unchecked::<Session<String>>();
        stream::iter([session.claims().to_string()]).chain(stream::pending())
    }
}

type Graph = Schema<Query, EmptyMutation, Subscriptions>;

async fn graphql(
    State(schema): State<Graph>,
    protocol: GraphQLProtocol,
    upgrade: AuthenticatedUpgrade<String>,
) -> Response {
    upgrade.protocols(ALL_WEBSOCKET_PROTOCOLS).on_upgrade(async move |socket| {
        let mut data = Data::default();
        data.insert(socket.session().clone());
        GraphQLWebSocket::new(socket, schema, protocol).with_data(data).serve().await;
    })
}

async fn start() -> (String, Sessions) {
    let (layer, sessions) = layer();
    let layer = layer.first_message(FirstMessage::graphql_ws());
    let schema = Schema::new(Query, EmptyMutation, Subscriptions);
    (serve(Router::new().route("/", any(graphql)).layer(layer).with_state(schema)).await, sessions)
}

/// Connects and subscribes, as a client of the protocol `graphql-transport-ws` does.
async fn subscribe(address: &str, subprotocols: &str, payload: Value) -> Client {
    let headers = [("sec-websocket-protocol", subprotocols)];
    let mut client = connect_with(address, "/", &headers).await.expect("a handshake");
    let mut ask = async |message: Value| {
        client.send(Message::text(message.to_string())).await.unwrap();
        serde_json::from_str::<Value>(next(&mut client).await.to_text().unwrap()).unwrap()
    };
    let ack = ask(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(ack, json!({ "type": "connection_ack" }));
    let me = ask(json!({ "type": "subscribe", "id": "1", "payload": { "query": "subscription { me }" } })).await;
    assert_eq!(me, json!({ "type": "next", "id": "1", "payload": { "data": { "me": "alice" } } }));
    client
}

/// What a client offers and sends, with the token in the handshake or in the first message. In both ways the library
/// negotiates the subprotocol.
fn ways(token: &str) -> [(String, Value); 2] {
    [
        (format!("graphql-transport-ws, bearer, {token}"), json!({})),
        ("graphql-transport-ws".to_owned(), json!({ "Authorization": format!("Bearer {token}") })),
    ]
}

#[tokio::test]
async fn ending_the_session_closes_the_subscription() {
    let (address, sessions) = start().await;
    for (subprotocols, payload) in ways("alice") {
        let mut client = subscribe(&address, &subprotocols, payload).await;
        assert_eq!((sessions.count(), sessions.end_subject("alice")), (1, 1));
        assert_eq!(closed(&mut client).await, (4401, "revoked".to_owned()));
        slot_freed(&sessions).await;
    }
    for (subprotocols, payload) in ways("alice.1000") {
        let mut client = subscribe(&address, &subprotocols, payload).await;
        assert_eq!(closed(&mut client).await, (4403, "token_expired".to_owned()));
        slot_freed(&sessions).await;
    }
}
