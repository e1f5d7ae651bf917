//! An MCP server of rmcp behind the layer. Its client is the npm package `@modelcontextprotocol/sdk`.

mod support;

use std::{future::pending, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, request::Parts},
    routing::post,
};
use axum_ws_auth::{MemoryRevocations, Revocations, Session, Sessions, WsAuthLayer};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ServerCapabilities, ServerConfig,
        SubscriptionFilter,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use support::{TIMEOUT, node, serve, slot_freed, verify};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

struct Tools;

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if request.name == "wait" {
            pending().await
        }
        // The library hands over the parts of the HTTP request, with the session in their extensions.
        let session = context.extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Session<String>>());
        let who = session.map_or_else(String::new, |session| session.claims().to_string());
        Ok(CallToolResult::success(vec![ContentBlock::text(who)]).into())
    }
}

async fn log_out(State(revocations): State<Revocations>) -> StatusCode {
    revocations.revoke_subject("alice").await.unwrap();
    StatusCode::NO_CONTENT
}

fn app(config: StreamableHttpServerConfig) -> (Router, Sessions) {
    let sessions = Sessions::new();
    let revocations = Revocations::new(MemoryRevocations::new());
    let mut manager = LocalSessionManager::default();
    manager.session_config.sse_retry = config.sse_retry;
    let mcp = StreamableHttpService::new(|| Ok(Tools), manager.into(), config);
    let app = Router::new()
        .route_service("/mcp", mcp)
        .layer(WsAuthLayer::new(verify).sessions(&sessions).revocations(&revocations))
        .route("/log-out", post(log_out))
        .with_state(revocations);
    (app, sessions)
}

/// Runs the client: a call, a log-out during another call, and a call. Returns what it saw, and the number of
/// connections that are left.
async fn run_client(config: StreamableHttpServerConfig) -> (Value, usize) {
    let (app, sessions) = app(config);
    let address = serve(app).await;
    let url = |path| format!("http://{address}{path}");
    let input = json!({ "url": url("/mcp"), "logOut": url("/log-out"), "token": "alice" });
    (node("mcp.mjs", input).await, sessions.count())
}

#[tokio::test]
async fn log_out_ends_the_streams_of_a_client() {
    // The client reconnects after this time, and gives up after two attempts.
    let config = StreamableHttpServerConfig::default().with_sse_retry(Some(Duration::from_millis(50)));
    let (seen, connections) = run_client(config).await;

    let ended = "event: auth.ended\ndata: {\"reason\":\"revoked\"}";
    let expected = json!({
        "who": "alice",
        "responses": {
            // Each answer is a stream, the first two with a single message.
            "POST 200 text/event-stream stream": 3,
            "POST 202": 1,
            // Notifications.
            "GET 200 text/event-stream stream": 1,
            "GET 401 application/problem+json whole": 4,
            "POST 401 application/problem+json whole": 1,
        },
        "ended": [format!("GET {ended}"), format!("POST {ended}")],
        "next": 401,
    });
    assert_eq!((seen, connections), (expected, 0));
}

#[tokio::test]
async fn plain_answers_are_not_disturbed() {
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let (seen, connections) = run_client(config).await;
    let expected = json!({
        "who": "alice",
        "responses": {
            "POST 200 application/json whole": 2,
            "POST 202": 1,
            "GET 405": 1,
            "POST 401 application/problem+json whole": 1,
        },
        "ended": [],
        "next": 401,
    });
    assert_eq!((seen, connections), (expected, 0));
}

/// The revision of 2026-07-28 has no sessions of its own, and no stream of notifications but the answer to this
/// request. The npm client does not speak it yet.
#[tokio::test]
async fn ending_the_session_ends_a_subscription() {
    let (app, sessions) = app(StreamableHttpServerConfig::default());
    let mut connection = TcpStream::connect(serve(app).await).await.unwrap();
    let version = "2026-07-28";
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": { "name": "client", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let method = "subscriptions/listen";
    let params = json!({ "notifications": { "toolsListChanged": true }, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer alice\r\n\
         Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         MCP-Protocol-Version: {version}\r\nMcp-Method: {method}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();

    let mut response = Vec::new();
    let contains = |response: &[u8], text: &str| String::from_utf8_lossy(response).contains(text);
    while !contains(&response, "notifications/subscriptions/acknowledged") {
        let read = timeout(TIMEOUT, connection.read_buf(&mut response)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&response));
    }
    assert_eq!((sessions.count(), sessions.end_subject("alice")), (1, 1));
    timeout(TIMEOUT, connection.read_to_end(&mut response)).await.unwrap().unwrap();
    let response = String::from_utf8(response).unwrap();
    let last = "event: auth.ended\ndata: {\"reason\":\"revoked\"}\n\n\r\n0\r\n\r\n";
    assert!(response.ends_with(last), "{response}");
    slot_freed(&sessions).await;
}
