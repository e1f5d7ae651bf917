//! The document that says where to sign in.

use axum::{Router, body::Body};
use axum_ws_auth::{BearerMethod, ConfigError, ResourceMetadata};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::{layer, metadata, support::*};

const PATH: &str = "/.well-known/oauth-protected-resource/mcp";

fn document(metadata: &ResourceMetadata) -> Value {
    serde_json::from_str(&metadata.to_json()).unwrap()
}

#[test]
fn document_holds_what_was_set_and_nothing_else() {
    let resource = "https://api.example.com/mcp";
    let expected = json!({ "resource": resource, "bearer_methods_supported": ["header"] });
    assert_eq!(document(&metadata()), expected);

    let all = metadata()
        .authorization_servers(["https://id.example.com", "https://id.example.org/realms/a"])
        .unwrap()
        .scopes_supported(["files:read"])
        .unwrap()
        .bearer_methods_supported([])
        .resource_name("Files")
        .resource_documentation("https://docs.example.com/api?v=1")
        .unwrap()
        .jwks_uri("https://api.example.com/jwks.json")
        .unwrap()
        .dpop_bound_access_tokens_required()
        .tls_client_certificate_bound_access_tokens()
        .member("resource_name#de", "Dateien")
        .unwrap()
        .member("dpop_signing_alg_values_supported", vec!["ES256"])
        .unwrap()
        // RFC 9728 §3.2.
        .member("resource_signing_alg_values_supported", Value::Array(Vec::new()))
        .unwrap()
        .member("resource_tos_uri", Value::Null)
        .unwrap();
    let expected = json!({
        "resource": resource,
        "authorization_servers": ["https://id.example.com", "https://id.example.org/realms/a"],
        "scopes_supported": ["files:read"],
        "bearer_methods_supported": [],
        "resource_name": "Files",
        "resource_documentation": "https://docs.example.com/api?v=1",
        "jwks_uri": "https://api.example.com/jwks.json",
        "dpop_bound_access_tokens_required": true,
        "tls_client_certificate_bound_access_tokens": true,
        "resource_name#de": "Dateien",
        "dpop_signing_alg_values_supported": ["ES256"],
    });
    assert_eq!(document(&all), expected);

    // The last call counts, and an empty list leaves the member out.
    let none = all.authorization_servers([""; 0]).unwrap().scopes_supported([""; 0]).unwrap();
    let none = document(&none.bearer_methods_supported([BearerMethod::Query, BearerMethod::Body]));
    assert_eq!(none["bearer_methods_supported"], json!(["query", "body"]));
    assert!(none.get("authorization_servers").is_none() && none.get("scopes_supported").is_none(), "{none}");
}

#[test]
fn wrong_metadata_does_not_build() {
    let url = |url: &str, problem| ConfigError::InvalidUrl { url: url.to_owned(), problem };
    for (built, expected) in [
        (ResourceMetadata::new("http://api.example.com"), url("http://api.example.com", "it is not https")),
        (
            metadata().authorization_servers(["https://id.example.com", "https://id.example.com?a=b"]),
            url("https://id.example.com?a=b", "the issuer has a query"),
        ),
        (metadata().authorization_servers(["id.example.com"]), url("id.example.com", "it is not an absolute url")),
        (metadata().resource_documentation("ftp://a/b"), url("ftp://a/b", "it is not https")),
        (metadata().jwks_uri("https://a/b#c"), url("https://a/b#c", "it has a fragment")),
        (metadata().scopes_supported(["a", "b c"]), ConfigError::InvalidScope("b c".to_owned())),
        (metadata().scopes_supported([""]), ConfigError::InvalidScope(String::new())),
        (metadata().member("resource", "https://b"), ConfigError::ReservedMember("resource".to_owned())),
        (metadata().member("jwks_uri", "x"), ConfigError::ReservedMember("jwks_uri".to_owned())),
    ] {
        assert_eq!(built.map(drop), Err(expected));
    }
}

#[tokio::test]
async fn document_is_public_and_any_page_may_read_it() {
    let app: Router = echo_behind(layer().resource_metadata(&metadata())).merge(metadata().router());
    let request = |method: &str| {
        let request = Request::builder().method(method).uri(PATH).header("origin", "https://app.example.com");
        request.body(Body::empty()).unwrap()
    };
    let response = answer(&app, request("GET")).await;
    assert_eq!(response.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "application/json"),
        ("cache-control", "public, max-age=300"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(text(response).await, metadata().to_json());

    // A page that sends a header of its own asks first.
    let preflight = answer(&app, request("OPTIONS")).await;
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-headers", "*"),
    ] {
        assert_eq!(preflight.headers()[name], value);
    }
    assert_eq!(answer(&app, request("HEAD")).await.status(), StatusCode::OK);
    assert_eq!(answer(&app, request("POST")).await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn path_of_the_route_follows_the_resource() {
    for (resource, path) in [
        ("https://api.example.com", "/.well-known/oauth-protected-resource"),
        ("https://api.example.com/a/b%20c/", "/.well-known/oauth-protected-resource/a/b%20c/"),
        ("https://api.example.com/mcp?tenant=7", "/.well-known/oauth-protected-resource/mcp?tenant=7"),
    ] {
        let metadata = ResourceMetadata::new(resource).unwrap();
        assert_eq!(metadata.url(), format!("https://api.example.com{path}"));
        let app: Router = metadata.router();
        let response = answer(&app, Request::get(path).body(Body::empty()).unwrap()).await;
        let document: Value = serde_json::from_str(&text(response).await).unwrap();
        assert_eq!(document["resource"], resource, "as the client wrote it (RFC 9728 §3.3)");
    }
}
