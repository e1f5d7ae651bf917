//! Which sessions and tokens a revocation affects.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, SystemTime},
};

use axum::{Router, routing::any};
use axum_ws_auth::{
    AuthenticatedUpgrade, ConfigError, EndReason, FirstMessage, MemoryRevocations, Revocation, RevocationOptions,
    Revocations, Session, Sessions, Token, VerifyInput, WsAuthLayer,
    test_util::{self, handshake},
};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    Flaky, app, close_frame, greeted, keeping, node, now, reason,
    support::{answer, closed, is_refused_with, settle},
    verifier,
};

#[tokio::test(start_paused = true)]
async fn a_revocation_ends_and_refuses_its_targets_only() {
    let then = now() - 100;
    struct Case {
        name: &'static str,
        /// Called when the sessions exist.
        revocation: fn() -> Revocation,
        revoked: Vec<String>,
        /// Tokens that are dated after the revocation, but were in use before: their sessions end, and they stay valid.
        dated_later: Vec<String>,
        spared: Vec<String>,
    }
    let cases = [
        Case {
            name: "token",
            revocation: || Revocation::Token("1".into()),
            revoked: vec![format!("alice.1.{then}"), "bob.1".to_owned()],
            dated_later: vec![],
            spared: vec![format!("alice.2.{then}"), "alice".to_owned(), ".11".to_owned()],
        },
        Case {
            name: "provider session",
            revocation: || Revocation::ProviderSession("of 1".into()),
            revoked: vec![format!("alice.1.{then}"), "bob.1".to_owned()],
            dated_later: vec![],
            spared: vec![format!("alice.2.{then}"), "alice".to_owned(), ".11".to_owned()],
        },
        Case {
            name: "provider session with the id of a token",
            revocation: || Revocation::ProviderSession("1".into()),
            revoked: vec![],
            dated_later: vec![],
            spared: vec!["alice.1".to_owned()],
        },
        Case {
            name: "token with the id of a provider session",
            revocation: || Revocation::Token("of 1".into()),
            revoked: vec![],
            dated_later: vec![],
            spared: vec!["alice.1".to_owned()],
        },
        Case {
            name: "subject",
            revocation: || Revocation::Subject { subject: "alice".into(), until: SystemTime::now() },
            revoked: vec![format!("alice.1.{then}"), "alice.2".to_owned(), format!("alice.3.{}", now() - 1)],
            dated_later: vec![format!("alice.4.{}", now() + 3600), format!("alice.5.{}", now() + 60)],
            spared: vec![format!("bob.1.{then}"), ".1".to_owned()],
        },
        Case {
            name: "everything issued until now",
            revocation: || Revocation::IssuedUntil(SystemTime::now()),
            revoked: vec![format!("alice.1.{then}"), "bob".to_owned(), format!(".3.{then}")],
            dated_later: vec![format!("alice.4.{}", now() + 3600)],
            spared: vec![],
        },
        Case {
            name: "everything issued until 50 seconds ago",
            revocation: || Revocation::IssuedUntil(SystemTime::now() - Duration::from_secs(50)),
            revoked: vec![format!("alice.1.{then}"), "bob".to_owned()],
            dated_later: vec![],
            spared: vec![format!("alice.4.{}", now() + 3600), format!("alice.5.{}", now() - 30)],
        },
    ];
    for Case { name, revocation, revoked, dated_later, spared } in cases {
        let revocations = Revocations::new(MemoryRevocations::new());
        let app = node(&revocations);
        let mut live = Vec::new();
        for token in revoked.iter().chain(&dated_later).chain(&spared) {
            live.push((token, greeted(&app, token).await.0));
        }
        match revocation() {
            Revocation::Token(id) => revocations.revoke_token(id).await,
            Revocation::ProviderSession(id) => revocations.revoke_provider_session(id).await,
            Revocation::Subject { subject, .. } => revocations.revoke_subject(subject).await,
            Revocation::IssuedUntil(moment) => revocations.revoke_issued_until(moment).await,
            _ => unreachable!(),
        }
        .unwrap();
        for (token, socket) in &mut live {
            let expected = (!spared.contains(token)).then(|| (3000, "revoked".to_owned()));
            assert_eq!(close_frame(socket).await, expected, "{name}: {token}");
        }
        for token in &revoked {
            assert_eq!(reason(&app, token).await, Some("revoked"), "{name}: {token}");
            let request = handshake().path("/plain").header("authorization", format!("Bearer {token}")).build();
            assert!(is_refused_with(&answer(&app, request).await, StatusCode::UNAUTHORIZED, "revoked"), "{name}");
        }
        for token in spared.iter().chain(&dated_later) {
            assert_eq!(reason(&app, token).await, None, "{name}: {token}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn revoking_a_session_leaves_its_token_valid() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = node(&revocations);
    let (mut one, id) = greeted(&app, "alice.1").await;
    let (mut other, _) = greeted(&app, "alice.1").await;
    revocations.revoke_session(id).await.unwrap();
    assert_eq!(closed(&mut one).await, (3000, "revoked".to_owned()));
    assert_eq!(close_frame(&mut other).await, None);
    assert_eq!(reason(&app, "alice.1").await, None);
}

#[tokio::test]
async fn a_new_sign_in_is_accepted_after_the_clock_skew() {
    for skew in [None, Some(0), Some(60)] {
        let options = RevocationOptions::new();
        let options = skew.map_or(options, |skew| options.clock_skew(Duration::from_secs(skew)).unwrap());
        let skew = skew.unwrap_or(5);
        for by_subject in [true, false] {
            let revocations = Revocations::with_options(MemoryRevocations::new(), options);
            let app = node(&revocations);
            let before = now();
            if by_subject {
                revocations.revoke_subject("alice").await.unwrap();
            } else {
                revocations.revoke_issued_until(SystemTime::now()).await.unwrap();
            }
            let after = now();
            for issued in [before, before + skew] {
                assert_eq!(reason(&app, &format!("alice.1.{issued}")).await, Some("revoked"), "{skew}");
            }
            assert_eq!(reason(&app, &format!("alice.2.{}", after + skew + 1)).await, None, "{skew}");
        }
    }
    let long = Duration::from_secs(3601);
    assert_eq!(RevocationOptions::new().clock_skew(long).err(), Some(ConfigError::LongClockSkew(long)));
}

#[tokio::test(start_paused = true)]
async fn sessions_from_before_a_revocation_end_even_if_their_token_is_dated_later() {
    // The issuer's clock is an hour ahead.
    let ahead = |id: u32| format!("alice.{id}.{}", now() + 3600);
    for count in [1, 40] {
        let store = Flaky::default();
        let (near, far) = (Revocations::new(store.clone()), Revocations::new(Arc::clone(&store.inner)));
        let (app, sessions) = keeping(WsAuthLayer::new(verifier).revocations(&near));
        for id in 0..2 {
            answer(&app, handshake().bearer_subprotocol(&ahead(id)).build()).await;
        }
        // One or many revocations in a batch, after an outage.
        store.fails.store(true, SeqCst);
        tokio::time::sleep(Duration::from_secs(6)).await;
        far.revoke_subject("alice").await.unwrap();
        for number in 1..count {
            far.revoke_token(format!("x{number}")).await.unwrap();
        }
        let revoked_at = SystemTime::now();
        // After the revocation, the second session is refreshed with a newer token.
        let refreshed = sessions.lock().unwrap()[1].clone();
        while SystemTime::now() <= revoked_at {}
        refreshed.refresh(Token::new(ahead(2))).await.unwrap();
        store.fails.store(false, SeqCst);
        tokio::time::sleep(Duration::from_secs(6)).await;
        let sessions = sessions.lock().unwrap();
        let ends = sessions.iter().map(Session::end_reason).collect::<Vec<_>>();
        assert_eq!(ends, [Some(EndReason::Revoked), None], "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_reaches_all_nodes() {
    let store = Arc::new(MemoryRevocations::new());
    let nodes: Vec<_> = (0..3).map(|_| Revocations::new(Arc::clone(&store))).collect();
    let apps: Vec<_> = nodes.iter().map(node).collect();
    let mut sockets = Vec::new();
    for app in &apps {
        sockets.push(greeted(app, "alice.1").await.0);
    }
    nodes[0].revoke_token("1").await.unwrap();
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (3000, "revoked".to_owned()));
    }
    for app in &apps {
        assert_eq!(reason(app, "alice.1").await, Some("revoked"));
    }
    // A later node has it before its first handshake.
    let late = node(&Revocations::new(store));
    assert_eq!(reason(&late, "alice.1").await, Some("revoked"));
    assert_eq!(reason(&late, "alice.2").await, None);
}

#[tokio::test(start_paused = true)]
async fn many_revocations_in_one_batch_are_applied() {
    let store = Flaky::default();
    let (near, far) = (Revocations::new(store.clone()), Revocations::new(Arc::clone(&store.inner)));
    let app = node(&near);
    let mut live = Vec::new();
    for number in 0..50 {
        live.push(greeted(&app, &format!("alice.{number}")).await.0);
    }
    let (mut session, id) = greeted(&app, "carol").await;
    store.fails.store(true, SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    for number in 0..40 {
        far.revoke_token(number.to_string()).await.unwrap();
    }
    far.revoke_session(id).await.unwrap();
    store.fails.store(false, SeqCst);
    tokio::time::sleep(Duration::from_secs(6)).await;
    for (number, socket) in live.iter_mut().enumerate() {
        assert_eq!(close_frame(socket).await.is_some(), number < 40, "{number}");
    }
    assert!(close_frame(&mut session).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_revocation_is_kept_for_the_configured_time() {
    let options = RevocationOptions::new().keep_for(Duration::from_secs(3600)).unwrap();
    let revocations = Revocations::with_options(MemoryRevocations::new(), options);
    let app = node(&revocations);
    revocations.revoke_token("1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3599)).await;
    assert_eq!(reason(&app, "alice.1").await, Some("revoked"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reason(&app, "alice.1").await, None);

    // Expired revocations take no memory.
    for round in 0..10 {
        for number in 0..2000 {
            revocations.revoke_token(format!("{round} {number}")).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(3601)).await;
    }
    assert!(revocations.status().entries <= 4000, "{}", revocations.status().entries);

    assert!(RevocationOptions::new().keep_for(Duration::ZERO).is_err());
    let short = Duration::from_secs(14);
    let error = RevocationOptions::new().max_staleness(short).err();
    assert_eq!(error, Some(ConfigError::ShortStaleness(short)));
}

#[tokio::test(start_paused = true)]
async fn first_messages_are_checked() {
    let revocations = Revocations::new(MemoryRevocations::new());
    let app = app(WsAuthLayer::new(verifier).first_message(FirstMessage::graphql_ws()).revocations(&revocations));
    revocations.revoke_token("1").await.unwrap();
    let (mut socket, _) = test_util::connect(app, handshake().build()).await.unwrap();
    let init = r#"{"type":"connection_init","payload":{"Authorization":"Bearer alice.1"}}"#;
    socket.send(init.into()).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("a close frame") };
    assert_eq!(u16::from(frame.code), 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_session_survives_a_revocation_that_races_its_handshake() {
    for round in 0..300 {
        let revocations = Revocations::new(MemoryRevocations::new());
        let sessions = Sessions::new();
        let app = app(WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations));
        assert_eq!(reason(&app, "bob").await, None, "the store has been loaded");
        let handshakes: Vec<_> = (0..8)
            .map(|_| {
                let app = app.clone();
                tokio::spawn(async move {
                    let request = handshake().bearer_subprotocol("alice.1").build();
                    test_util::connect(app, request).await.ok()
                })
            })
            .collect();
        for _ in 0..round % 20 {
            tokio::task::yield_now().await;
        }
        revocations.revoke_token("1").await.unwrap();
        // Some were admitted and ended, others refused.
        let mut held = Vec::new();
        for handshake in handshakes {
            held.extend(handshake.await.unwrap());
        }
        assert_eq!(sessions.iter().filter(|session| session.subject() == Some("alice")).count(), 0, "{round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_at_any_step_of_a_handshake_takes_effect() {
    struct Case {
        name: &'static str,
        in_verifier: bool,
        in_handler: bool,
        in_callback: bool,
    }
    let case = |name, in_verifier, in_handler, in_callback| Case { name, in_verifier, in_handler, in_callback };
    for Case { name, in_verifier, in_handler, in_callback } in [
        case("while the token is verified", true, false, false),
        case("in the handler, before it upgrades", false, true, false),
        case("in the callback, before it reads", false, false, true),
    ] {
        let revocations = Revocations::new(MemoryRevocations::new());
        let sessions = Sessions::new();
        let revoking = revocations.clone();
        let verifier = move |input: VerifyInput<'_>| {
            let (verified, revoking) = (verifier(input), revoking.clone());
            async move {
                if in_verifier {
                    revoking.revoke_subject("alice").await.unwrap();
                }
                verified.await
            }
        };
        let revoking = revocations.clone();
        let handler = async move |upgrade: AuthenticatedUpgrade<String>| {
            if in_handler {
                revoking.revoke_subject("alice").await.unwrap();
            }
            upgrade.on_upgrade(async move |mut socket| {
                if in_callback {
                    revoking.revoke_subject("alice").await.unwrap();
                }
                while let Some(Ok(_)) = socket.recv().await {}
            })
        };
        let layer = WsAuthLayer::new(verifier).sessions(&sessions).revocations(&revocations);
        let app = Router::new().route("/", any(handler)).layer(layer);
        let request = handshake().bearer_subprotocol("alice.1").build();
        match test_util::connect(app, request).await {
            Ok((mut socket, _)) => {
                assert!(!in_verifier, "{name}");
                assert_eq!(closed(&mut socket).await, (3000, "revoked".to_owned()), "{name}");
            }
            Err(_) => assert!(in_verifier, "{name}"),
        }
        settle().await;
        assert_eq!((sessions.iter().count(), sessions.count()), (0, 0), "{name}");
    }
}
