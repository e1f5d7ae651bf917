//! A server-streaming call of tonic, which ends with a status when its session ends.

mod support;

use std::future::{Ready, ready};

use axum::{Router, extract::Request, http::uri::PathAndQuery, response::IntoResponse, routing::post};
use futures_util::stream::{self, BoxStream, StreamExt};
use support::{BRIEF, layer, serve, slot_freed};
use tonic::{
    Code, Response, Status, Streaming,
    client::Grpc as GrpcClient,
    server::{Grpc, ServerStreamingService},
    transport::Endpoint,
};
use tonic_prost::ProstCodec;

const METHOD: &str = "/chat.Chat/Listen";

/// Sends one message, and keeps the stream open. Without `protoc`, this is what `tonic-build` would generate a trait
/// for.
struct Listen;

impl ServerStreamingService<()> for Listen {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: tonic::Request<()>) -> Self::Future {
        let hello = stream::iter([Ok("hello".to_owned())]);
        ready(Ok(Response::new(hello.chain(stream::pending()).boxed())))
    }
}

async fn listen(request: Request) -> impl IntoResponse {
    Grpc::new(ProstCodec::<String, ()>::default()).server_streaming(Listen, request).await
}

/// Calls the method with these credentials.
async fn call(address: &str, credentials: Option<&str>) -> Result<Streaming<String>, Status> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = GrpcClient::new(channel);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(());
    if let Some(credentials) = credentials {
        request.metadata_mut().insert("authorization", credentials.parse().unwrap());
    }
    let codec = ProstCodec::<(), String>::default();
    client.server_streaming(request, PathAndQuery::from_static(METHOD), codec).await.map(Response::into_inner)
}

#[tokio::test]
async fn ending_the_session_ends_the_call_with_unauthenticated() {
    let (layer, sessions) = layer();
    let address = serve(Router::new().route(METHOD, post(listen)).layer(layer)).await;

    let refused = call(&address, None).await.expect_err("it has no token");
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "missing_token"));

    for _ in 0..3 {
        // The session is ended.
        let mut stream = call(&address, Some("Bearer alice")).await.unwrap();
        assert_eq!(stream.message().await.unwrap().as_deref(), Some("hello"));
        let refused = call(&address, Some("Bearer alice")).await.expect_err("the slot is taken");
        assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, "too_many_sessions"));
        assert_eq!((sessions.count(), sessions.end_subject("alice")), (1, 1));
        let status = stream.message().await.expect_err("the session has ended");
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "revoked"));
        slot_freed(&sessions).await;

        // The client leaves.
        let stream = call(&address, Some("Bearer alice")).await.unwrap();
        assert_eq!(sessions.count(), 1);
        drop(stream);
        slot_freed(&sessions).await;
    }

    // The token expires.
    let mut stream = call(&address, Some(BRIEF)).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("hello"));
    let status = stream.message().await.expect_err("the token has expired");
    assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "token_expired"));
    slot_freed(&sessions).await;
}
