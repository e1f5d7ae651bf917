//! Verifiers that an application writes itself: from functions, from other verifiers, and with checks of the path.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::{Router, response::Response, routing::any};
use axum_ws_auth::{
    Authenticated, AuthenticatedUpgrade, FirstMessage, FirstToken, FromVerifyInput, MemoryTickets, OwnedVerifyInput,
    PathParams, RefreshErrorKind, Session, TicketOptions, Tickets, TimeSource, Token, Verified, Verifier, VerifyError,
    VerifyErrorKind, VerifyInput, WsAuthLayer,
    test_util::{self, TestToken, handshake},
    verifier_fn,
};
use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use serde_json::Value;
use support::{answer, echo_behind, timed};
use tokio::{sync::mpsc, task::yield_now};
use tokio_tungstenite::tungstenite::Message;
use tower::{Layer, ServiceExt};

/// A handle to a table of tokens, as a pool of database connections is one.
#[derive(Clone)]
struct Users(Arc<HashMap<&'static str, &'static str>>);

impl Users {
    fn new() -> Self {
        Self(Arc::new(HashMap::from([("token-of-alice", "alice"), ("token-of-bob", "bob")])))
    }

    async fn find(&self, token: &str) -> Result<Verified<String>, VerifyError> {
        yield_now().await;
        let name = self.0.get(token).ok_or(VerifyError::invalid())?;
        Ok(Verified::new((*name).to_owned()).with_subject(*name))
    }
}

async fn over_a_token(token: Token) -> Result<Verified<String>, VerifyError> {
    yield_now().await;
    Users::new().find(token.expose()).await
}

async fn over_an_input(input: OwnedVerifyInput) -> Result<Verified<String>, VerifyError> {
    assert_eq!(input.parts.uri.path(), "/");
    assert!(input.now.elapsed().unwrap() < Duration::from_secs(60));
    Users::new().find(input.token.expose()).await
}

async fn over_a_borrowed_input(input: VerifyInput<'_>) -> Result<Verified<String>, VerifyError> {
    yield_now().await;
    Users::new().find(input.token.expose()).await
}

/// What a closure needs, and no more.
struct TokenAndPath(Token, String);

impl FromVerifyInput for TokenAndPath {
    fn from_verify_input(input: VerifyInput<'_>) -> Self {
        Self(input.token.clone(), input.parts.uri.path().to_owned())
    }
}

#[tokio::test]
async fn functions_and_closures_verify() {
    let users = Users::new();
    let [a, b, c] = [(); 3].map(|()| users.clone());
    for (name, layer) in [
        ("a function over a token", WsAuthLayer::new(verifier_fn(over_a_token))),
        (
            "an async closure with a handle",
            WsAuthLayer::new(verifier_fn(async move |token: Token| users.find(token.expose()).await)),
        ),
        (
            "a closure with a handle",
            WsAuthLayer::new(verifier_fn(move |token: Token| {
                let users = a.clone();
                async move { users.find(token.expose()).await }
            })),
        ),
        ("a function over an input", WsAuthLayer::new(verifier_fn(over_an_input))),
        (
            "an async closure over an input of its own",
            WsAuthLayer::new(verifier_fn(async move |TokenAndPath(token, path): TokenAndPath| {
                assert_eq!(path, "/");
                b.find(token.expose()).await
            })),
        ),
        ("a function over a borrowed input", WsAuthLayer::new(over_a_borrowed_input)),
        ("the same, shared", WsAuthLayer::new(Arc::new(over_a_borrowed_input))),
        (
            "an async closure over a borrowed input",
            WsAuthLayer::new(async |input: VerifyInput<'_>| {
                yield_now().await;
                Users::new().find(input.token.expose()).await
            }),
        ),
        (
            "a closure over a borrowed input",
            WsAuthLayer::new(move |input: VerifyInput<'_>| {
                let (token, users) = (input.token.clone(), c.clone());
                async move { users.find(token.expose()).await }
            }),
        ),
    ] {
        let app = echo_behind(layer);
        for (token, status) in [("token-of-alice", 101), ("token-of-eve", 401)] {
            let response = answer(&app, handshake().bearer_subprotocol(token).build()).await;
            assert_eq!(response.status().as_u16(), status, "{name}, {token}");
        }
    }
}

#[test]
fn a_token_is_compared_as_a_whole() {
    let token = Token::new("secret");
    for (other, is_equal) in
        [("secret", true), ("Secret", false), ("secre", false), ("secrets", false), ("tecres", false), ("", false)]
    {
        assert_eq!(token.equals(other), is_equal, "{other}");
    }
    // Enough to meet hashes of which the differences cancel each other out.
    assert!((0..5000).all(|other| !token.equals(&other.to_string())));
}

#[test]
fn a_function_is_cloned_and_printed_without_its_captures() {
    let users = Users::new();
    let verifier = verifier_fn(async move |token: Token| users.find(token.expose()).await);
    assert_eq!(format!("{:?}", verifier.clone()), "VerifierFn(<fn>)");
    assert_eq!(format!("{:?}", verifier.clone().map(|_| ())), "Map { verifier: VerifierFn(<fn>), convert: <fn> }");
    let checked = verifier.authorize_async(async |_, _| Ok(()));
    assert_eq!(format!("{checked:?}"), "AuthorizeAsync { verifier: VerifierFn(<fn>), check: <fn> }");
    let token = Token::new("secret");
    let input = OwnedVerifyInput::from_verify_input(VerifyInput::without_request(&token, SystemTime::UNIX_EPOCH));
    assert_eq!(format!("{input:?}"), format!("{:?}", input.as_input()).replacen("Verify", "OwnedVerify", 1));
    assert!(!format!("{input:?}").contains("secret"));
}

#[tokio::test]
async fn mapped_claims_keep_the_facts_of_the_token() {
    #[derive(Clone, Debug, PartialEq)]
    enum Caller {
        User(String),
        Machine(u32),
    }
    let users = test_util::verifier::<Value>();
    let machines = verifier_fn(async |token: Token| match token.expose() {
        "key-7" => Ok(Verified::new(7_u32)),
        _ => Err(VerifyError::invalid()),
    });
    let now = SystemTime::now();
    let text = TestToken::new("alice").claim("iss", "a").claim("jti", "one").sign();
    let token = Token::new(text);
    let unmapped = users.verify(VerifyInput::without_request(&token, now)).await.unwrap();
    let expected = unmapped.map(|claims| Caller::User(claims["sub"].as_str().unwrap().to_owned()));
    assert!(expected.expires_at.is_some() && expected.issued_at.is_some());
    assert_eq!(expected.claims, Caller::User("alice".to_owned()));

    let users = users.map(|claims| Caller::User(claims["sub"].as_str().unwrap().to_owned()));
    let mapped = users.verify_now(VerifyInput::without_request(&token, now)).unwrap().unwrap();
    assert!(mapped == expected, "{mapped:?}");
    let either = users.or(machines.map(Caller::Machine));
    let mapped = either.verify(VerifyInput::without_request(&token, now)).await.unwrap();
    assert!(mapped == expected, "{mapped:?}");
    let token = Token::new("key-7");
    let machine = either.verify(VerifyInput::without_request(&token, now)).await.unwrap();
    assert_eq!(machine.claims, Caller::Machine(7));
}

#[tokio::test]
async fn a_token_is_verified_without_a_request() {
    let now = SystemTime::now();
    let token = Token::new(TestToken::new("alice").expires_in(Duration::from_secs(60)).sign());
    let verifier = Arc::new(test_util::verifier::<Value>());
    let input = VerifyInput::without_request(&token, now);
    assert_eq!((input.parts.uri.path(), input.parts.headers.len(), input.now), ("/", 0, now));
    assert!(input.parts.extensions.is_empty());
    assert_eq!(verifier.verify(input).await.unwrap().subject.as_deref(), Some("alice"));
    let later = VerifyInput::without_request(&token, now + Duration::from_secs(3600));
    assert_eq!(verifier.verify(later).await.unwrap_err().kind(), VerifyErrorKind::Expired);

    // What needs the request refuses.
    let in_room = Arc::clone(&verifier).authorize(|_, parts| PathParams::of(parts).parse::<u64>("room").map(|_| ()));
    assert_eq!(in_room.verify(input).await.unwrap_err().kind(), VerifyErrorKind::Forbidden);
    let tickets = Tickets::<Value>::new(MemoryTickets::new());
    let (tell, mut told) = mpsc::unbounded_channel();
    let issue = {
        let tickets = tickets.clone();
        async move |Authenticated(session): Authenticated<Value>| {
            let options = TicketOptions::new().path("/chat").unwrap();
            tell.send(tickets.issue(&session, &options).await.unwrap()).unwrap();
        }
    };
    let app = Router::new().route("/", any(issue)).layer(WsAuthLayer::new(verifier));
    answer(&app, handshake().bearer_subprotocol(token.expose()).build()).await;
    let ticket = told.recv().await.unwrap();
    let outcome = tickets.verifier().verify(VerifyInput::without_request(ticket.token(), now)).await;
    assert_eq!(outcome.unwrap_err().kind(), VerifyErrorKind::TicketForElsewhere);
}

/// Programs switch on these names, so the docs list them.
#[test]
fn the_docs_of_each_kind_begin_with_its_name() {
    let source = include_str!("../src/verify/error.rs");
    let documented: Vec<_> = source.lines().filter_map(|line| line.split_once("/// `")?.1.split_once("`: ")).collect();
    let returned: Vec<_> =
        source.lines().filter_map(|line| line.split_once("Self::")?.1.split_once(" => \"")).collect();
    assert_eq!(documented.len(), 32);
    for ((name, _), (kind, returned)) in documented.iter().zip(&returned) {
        assert_eq!(returned.trim_end_matches("\","), *name, "{kind}");
    }
}

/// What a check sees of the path, in the form `name=value …`.
type Seen = Arc<Mutex<Vec<String>>>;

fn describe(params: &PathParams) -> String {
    params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Accepts all that [`timed`] accepts, and notes the path parameters.
fn watching() -> (WsAuthLayer, Seen) {
    let seen = Seen::default();
    let note = Arc::clone(&seen);
    let verifier = timed.authorize_async(async move |_, parts| {
        yield_now().await;
        note.lock().unwrap().push(describe(&PathParams::of(parts)));
        Ok(())
    });
    (WsAuthLayer::new(verifier), seen)
}

#[tokio::test]
async fn a_check_sees_the_parameters_of_the_routes_that_have_matched() {
    let (layer, seen) = watching();
    let echo = || any(test_util::echo);
    let inner = || Router::new().route("/rooms/{room}", echo());
    let around = |router: Router| Router::new().fallback_service(layer.layer(router));
    struct Case {
        name: &'static str,
        app: Router,
        path: &'static str,
        expected: &'static str,
    }
    for Case { name, app, path, expected } in [
        Case { name: "Router::layer", app: inner().layer(layer.clone()), path: "/rooms/7", expected: "room=7" },
        Case { name: "decoded", app: inner().layer(layer.clone()), path: "/rooms/%C3%A4%2Fb", expected: "room=ä/b" },
        Case { name: "not UTF-8", app: inner().layer(layer.clone()), path: "/rooms/%ff", expected: "" },
        Case {
            name: "Router::route_layer",
            app: inner().route_layer(layer.clone()),
            path: "/rooms/7",
            expected: "room=7",
        },
        Case {
            name: "MethodRouter::layer",
            app: Router::new().route("/rooms/{room}/{*rest}", echo().layer(layer.clone())),
            path: "/rooms/7/a/b",
            expected: "room=7 rest=a/b",
        },
        Case {
            name: "on the inner router",
            app: Router::new().nest("/teams/{team}", inner().layer(layer.clone())),
            path: "/teams/red/rooms/7",
            expected: "team=red room=7",
        },
        Case {
            name: "on the outer router",
            app: Router::new().nest("/teams/{team}", inner()).layer(layer.clone()),
            path: "/teams/red/rooms/7",
            expected: "team=red room=7",
        },
        Case {
            name: "in a nested service",
            app: Router::new().nest_service("/teams/{team}", inner().layer(layer.clone())),
            path: "/teams/red/rooms/7",
            expected: "team=red room=7",
        },
        Case {
            name: "around a nested service",
            app: Router::new().nest_service("/teams/{team}", layer.layer(inner())),
            path: "/teams/red/rooms/7",
            expected: "team=red",
        },
        Case { name: "around the router", app: around(inner()), path: "/rooms/7", expected: "" },
        Case {
            name: "a fallback",
            app: inner().fallback(test_util::echo).layer(layer.clone()),
            path: "/other/7",
            expected: "",
        },
        Case {
            name: "no parameters",
            app: Router::new().route("/", echo()).layer(layer.clone()),
            path: "/",
            expected: "",
        },
    ] {
        for request in [handshake(), handshake().http2()] {
            let response = answer(&app, request.path(path).authorization("alice").build()).await;
            assert!(matches!(response.status().as_u16(), 101 | 200), "{name}: {}", response.status());
            assert_eq!(seen.lock().unwrap().drain(..).collect::<Vec<_>>(), [expected], "{name}");
        }
    }
}

/// A name that is there twice could be either.
#[tokio::test]
async fn a_parameter_is_read_by_its_name_if_there_is_one() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let verifier = timed.authorize(move |_, parts| {
        let params = PathParams::of(parts);
        let kind = |name| params.parse::<u8>(name).map_err(|error: VerifyError| error.kind());
        tell.send((params.get("id").map(str::to_owned), kind("id"), kind("room"))).unwrap();
        Ok(())
    });
    let inner = Router::new().route("/{id}", any(test_util::echo)).layer(WsAuthLayer::new(verifier.clone()));
    let app = Router::new()
        .nest_service("/twice/{id}", inner)
        .route("/once/{id}/{room}", any(test_util::echo).layer(WsAuthLayer::new(verifier)));
    let forbidden = Err(VerifyErrorKind::Forbidden);
    for (path, expected) in [
        ("/once/7/255", (Some("7"), Ok(7), Ok(255))),
        ("/once/seven/256", (Some("seven"), forbidden, forbidden)),
        ("/twice/7/7", (None, forbidden, forbidden)),
    ] {
        answer(&app, handshake().path(path).authorization("alice").build()).await;
        let (id, as_number, room) = told.recv().await.unwrap();
        assert_eq!((id.as_deref(), as_number, room), expected, "{path}");
    }
}

#[test]
fn a_missing_parameter_is_named_in_the_cause() {
    let (parts, _) = handshake().build().into_parts();
    let error = PathParams::of(&parts).parse::<String>("room").unwrap_err();
    assert_eq!((error.kind(), error.is_forbidden()), (VerifyErrorKind::Forbidden, true));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the path has no valid parameter `room`");
}

/// A token is `SUBJECT.ROOM`.
fn member_of_room(token: &str, parts: &Parts) -> Result<(), VerifyError> {
    let room: String = PathParams::of(parts).parse("room")?;
    if token.split('.').nth(1) == Some(&room) { Ok(()) } else { Err(VerifyError::forbidden()) }
}

fn room_layer() -> WsAuthLayer {
    let verifier = verifier_fn(async |token: Token| {
        let text = token.expose().to_owned();
        let subject = text.split('.').next().unwrap_or_default().to_owned();
        Ok(Verified::new(text).with_subject(subject))
    });
    let now = SystemTime::now();
    let verifier = verifier.authorize_async(async |token, parts| member_of_room(token, parts));
    WsAuthLayer::new(verifier).time_source(TimeSource::new(move || now))
}

/// The path of a session does not change, and neither do its parameters.
#[tokio::test(start_paused = true)]
async fn a_refresh_is_checked_for_the_room_of_the_handshake() {
    let (tell, mut told) = mpsc::unbounded_channel::<Session<String>>();
    let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
        tell.send(upgrade.session().unwrap().clone()).unwrap();
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    };
    let inner = Router::new().route("/rooms/{room}", any(handler.clone())).layer(room_layer());
    let service = Router::new().route("/{room}", any(handler)).layer(room_layer());
    let app = Router::new().nest("/teams/{team}", inner).nest_service("/once/{team}", service);
    for path in ["/teams/red/rooms/a%2Fb", "/once/red/a%2fb"] {
        for (request, status) in [(handshake(), 101), (handshake().http2(), 200)] {
            let request = request.path(path).authorization("alice.a/b");
            assert_eq!(answer(&app, request.build()).await.status().as_u16(), status, "{path}");
            let session = told.recv().await.unwrap();
            for (token, outcome) in [
                ("alice.red", Err(RefreshErrorKind::NotVerified(VerifyErrorKind::Forbidden))),
                ("alice", Err(RefreshErrorKind::NotVerified(VerifyErrorKind::Forbidden))),
                ("bob.a/b", Err(RefreshErrorKind::OtherSubject)),
                ("alice.a/b.2", Ok("alice.a/b.2")),
            ] {
                let refreshed = session.refresh(Token::new(token)).await.map_err(|error| error.kind());
                assert_eq!(refreshed.map(|()| token), outcome, "{path}, {token}");
            }
            assert_eq!(*session.claims(), "alice.a/b.2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_message_is_checked_for_the_room_of_the_handshake() {
    async fn chat(upgrade: AuthenticatedUpgrade<String>) -> Response {
        upgrade.on_upgrade(async |mut socket| {
            let _ = socket.send(axum::extract::ws::Message::text("welcome")).await;
            while let Some(Ok(_)) = socket.recv().await {}
        })
    }
    let first = FirstMessage::new(|message| Some(FirstToken::new(Token::new(message.to_text().ok()?))));
    let layer = room_layer().first_message(first);
    let app = Router::new().route("/rooms/{room}", any(chat)).layer(layer);
    for (token, welcome) in [("alice.7", true), ("alice.8", false)] {
        let (mut socket, _) = test_util::connect(app.clone(), handshake().path("/rooms/7").build()).await.unwrap();
        socket.send(Message::text(token)).await.unwrap();
        let message = socket.next().await.unwrap().unwrap();
        assert_eq!(message == Message::text("welcome"), welcome, "{token}: {message:?}");
    }
}

/// Without parameters, nobody gets in: not even where a check would have let them.
#[tokio::test]
async fn a_layer_around_the_router_refuses_what_needs_parameters() {
    let router = Router::new().route("/rooms/{room}", any(test_util::echo));
    let service = room_layer().layer(router.clone());
    let request = || handshake().path("/rooms/7").authorization("alice.7").build();
    assert_eq!(service.oneshot(request()).await.unwrap().status().as_u16(), 403);
    assert_eq!(answer(&router.layer(room_layer()), request()).await.status().as_u16(), 101);
}

#[tokio::test]
async fn a_check_that_waits_runs_only_for_valid_tokens_and_its_error_counts() {
    let checked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&checked);
    let verifier = timed.authorize_async(async move |token: &String, _: &Parts| {
        *count.lock().unwrap() += 1;
        yield_now().await;
        match token.as_str() {
            "bob" => Err(VerifyError::insufficient_scope("chat")),
            "carol" => Err(VerifyError::unavailable(Duration::from_secs(7))),
            _ => Ok(()),
        }
    });
    let app = echo_behind(WsAuthLayer::new(verifier));
    for (token, status, checks) in [("alice", 101, 1), ("bad", 401, 0), ("bob", 403, 1), ("carol", 503, 1)] {
        let response = answer(&app, handshake().authorization(token).build()).await;
        assert_eq!(response.status().as_u16(), status, "{token}");
        assert_eq!(std::mem::take(&mut *checked.lock().unwrap()), checks, "{token}");
    }
}
