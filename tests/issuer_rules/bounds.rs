//! How many issuers a rule keeps, and what an attacker can do about it.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;

/// A token that names a realm and is not from it.
fn forged(realm: &str) -> String {
    support::issuer::forged(&name(realm), realm)
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_names_disturb_no_issuer_that_is_in_use() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule().max_issuers(20)).build().unwrap();
    let tenants = ["tenant-1", "tenant-2", "tenant-3", "tenant-4", "tenant-5b"];
    for tenant in tenants {
        assert_eq!(outcome(&verifier, &token(tenant)).await, Ok(()));
    }
    let begin = tokio::time::Instant::now();
    let mut refused = 0;
    for attack in 0..10_000 {
        // Every other realm exists, so its keys are fetched, and the signature is checked and wrong.
        let realm = if attack % 2 == 0 { format!("tenant-x{attack}") } else { format!("tenant-none{attack}") };
        let error = verified(&verifier, &forged(&realm)).await.unwrap_err();
        match error.kind() {
            Kind::Unavailable => {
                assert!(error.retry_after().is_some(), "{realm}");
                refused += 1;
            }
            kind => assert_eq!(kind, Kind::BadSignature, "{realm}"),
        }
        if attack % 100 == 0 {
            for tenant in tenants {
                let verified = verified(&verifier, &token(tenant)).now_or_never();
                assert!(verified.is_some_and(|verified| verified.is_ok()), "{tenant} after {attack}");
            }
        }
    }
    assert!(refused > 9_900, "{refused}");
    assert!(verifier.status().len() <= tenants.len() + 16, "{}", verifier.status().len());
    // Two requests for each issuer that was added: those in use, 15 more at once, and one each second.
    let allowed = 2 * (20 + usize::try_from(begin.elapsed().as_secs()).unwrap());
    assert!(realms.fetches() <= allowed, "{} of {allowed}", realms.fetches());

    // The attack is over: a new tenant is accepted after a second, the others are forgotten after 30.
    advance(seconds(1)).await;
    assert_eq!(outcome(&verifier, &token("tenant-6")).await, Ok(()));
    advance(seconds(31)).await;
    settle().await;
    assert_eq!(verifier.status().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn at_most_sixteen_new_issuers_fetch_their_keys_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let realms = Realms::held_by(&gate);
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    let waiting: Vec<_> = (0..16)
        .map(|number| {
            let verifier = verifier.clone();
            tokio::spawn(async move { outcome(&verifier, &token(&format!("tenant-{number}"))).await })
        })
        .collect();
    settle().await;
    assert_eq!(realms.fetches(), 16);
    let error = verified(&verifier, &token("tenant-x")).now_or_never().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (Kind::Unavailable, Some(seconds(1))));
    assert_eq!(realms.fetches(), 16);

    gate.close();
    for outcome in waiting {
        assert_eq!(outcome.await.unwrap(), Ok(()));
    }
    assert_eq!(outcome(&verifier, &token("tenant-x")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_issuer_without_a_valid_token_gives_way_once_its_keys_are_known() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    for number in 0..16 {
        assert_eq!(outcome(&verifier, &forged(&format!("tenant-{number:02}"))).await, Err(Kind::BadSignature));
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(outcome(&verifier, &token("tenant-16")).await, Ok(()));
    let names: Vec<_> = (1..=16).map(|number| (name(&format!("tenant-{number:02}")), true)).collect();
    assert_eq!(known(&verifier), names, "the first is gone");
}

#[tokio::test(start_paused = true)]
async fn the_issuer_that_was_not_used_for_the_longest_time_is_replaced() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule().max_issuers(3)).build().unwrap();
    for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
        assert_eq!(outcome(&verifier, &token(tenant)).await, Ok(()));
        advance(seconds(30)).await;
    }
    assert_eq!(outcome(&verifier, &token("tenant-1")).await, Ok(()));
    // A forged token is no use, nor is one for another audience.
    assert_eq!(outcome(&verifier, &forged("tenant-2")).await, Err(Kind::BadSignature));
    let mail = key("tenant-2").sign(&json!({"iss": name("tenant-2"), "aud": "mail", "exp": EXP}));
    assert_eq!(outcome(&verifier, &mail).await, Err(Kind::WrongAudience));
    assert_eq!(outcome(&verifier, &token("tenant-4")).await, Ok(()));
    let names = ["tenant-1", "tenant-3", "tenant-4"].map(|realm| (name(realm), true));
    assert_eq!(known(&verifier), names);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_was_used_within_a_minute_is_not_replaced() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule().max_issuers(2)).build().unwrap();
    for tenant in ["tenant-1", "tenant-2", "tenant-3"] {
        assert_eq!(
            outcome(&verifier, &token(tenant)).await,
            Ok(()),
            "{tenant}: its token is valid, with or without a place"
        );
        advance(seconds(1)).await;
    }
    let now = |tenant| verified(&verifier, &token(tenant)).now_or_never().is_some_and(|verified| verified.is_ok());
    assert!(now("tenant-1") && now("tenant-2") && now("tenant-3"));
    advance(seconds(31)).await;
    settle().await;
    let names = ["tenant-1", "tenant-2"].map(|realm| (name(realm), true));
    assert_eq!(known(&verifier), names, "the third found no place");

    advance(seconds(60)).await;
    assert!(now("tenant-2"));
    assert_eq!(outcome(&verifier, &token("tenant-3")).await, Ok(()));
    let names = ["tenant-2", "tenant-3"].map(|realm| (name(realm), true));
    assert_eq!(known(&verifier), names);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_fails_is_forgotten_and_fetches_nothing_more() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    let error = verified(&verifier, &token("tenant-none")).await.unwrap_err();
    assert!(error.is_unavailable() && error.retry_after().is_some());
    assert_eq!(known(&verifier), [(name("tenant-none"), false)]);
    for _ in 0..40 {
        advance(seconds(1)).await;
        settle().await;
    }
    assert_eq!(known(&verifier), []);
    let fetches = realms.fetches_of("tenant-none");
    assert!(fetches <= 8, "{fetches}");
    advance(seconds(3600)).await;
    settle().await;
    assert_eq!(realms.fetches_of("tenant-none"), fetches, "its task has ended");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_is_dropped_after_a_day_without_use() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    assert_eq!(outcome(&verifier, &token("tenant-1")).await, Ok(()));
    assert_eq!(outcome(&verifier, &token("tenant-2")).await, Ok(()));
    for hour in 0..25 {
        for _ in 0..4 {
            advance(seconds(900)).await;
            settle().await;
        }
        assert_eq!(outcome(&verifier, &token("tenant-2")).await, Ok(()), "{hour}");
    }
    assert_eq!(known(&verifier), [(name("tenant-2"), true)]);
    assert!(realms.fetches_of("tenant-2") > 24, "its keys were refreshed all the time");
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_added_issuers_end_with_the_verifier() {
    let realms = Realms::default();
    let verifier = builder().issuers_where(realms.rule()).build().unwrap();
    assert_eq!(outcome(&verifier, &token("tenant-1")).await, Ok(()));
    let clone = verifier.clone();
    drop(verifier);
    advance(seconds(3600)).await;
    settle().await;
    let fetches = realms.fetches();
    assert!(fetches > 2, "a clone keeps them");
    drop(clone);
    advance(seconds(24 * 3600)).await;
    settle().await;
    assert_eq!(realms.fetches(), fetches);
}
