use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::{LONG, SHORT, WORKS};
use crate::{
    id::{ScopedId, SessionId},
    store::{Cursor, Revocation, RevocationStore},
};

/// Tests a store of revocations. Takes about ten seconds. The two values are the stores of two nodes, which share one
/// log; nobody else may use it meanwhile.
///
/// # Panics
///
/// If the store breaks a rule of [`RevocationStore`].
pub async fn revocations(one: impl RevocationStore, other: impl RevocationStore) {
    let session: SessionId = "0123456789abcdef0000000000000001".parse().expect("an id");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    let kinds = [
        Revocation::Token("a token, with: \"quotes\" and \u{e9}".into()),
        Revocation::Token(ScopedId::of("https://id.example.com", "a token")),
        Revocation::Token(ScopedId::without_issuer("a token")),
        Revocation::Session(session),
        Revocation::ProviderSession(ScopedId::of("https://id.example.com", "a session")),
        Revocation::ProviderSession("a session".into()),
        Revocation::Subject { subject: "alice".into(), until: time },
        Revocation::Subject { subject: ScopedId::of("https://id.example.com", "alice"), until: time },
        Revocation::IssuedUntil(time),
    ];
    let mut cursor = other.load().await.expect(WORKS).cursor;
    for kind in &kinds {
        one.add(kind, LONG).await.expect(WORKS);
        let batch = other.next(cursor).await.expect(WORKS);
        assert!(contains(&batch.revocations, kind), "the other node receives {kind:?}");
        assert!(batch.revocations.iter().all(|(_, keep_for)| *keep_for <= LONG), "none is kept longer than asked");
        cursor = batch.cursor;
    }
    for store in [one.load().await, other.load().await] {
        let all = store.expect(WORKS).revocations;
        assert!(kinds.iter().all(|kind| contains(&all, kind)), "a later load returns everything");
    }

    let late = Revocation::Token("late".into());
    let (batch, added) = tokio::join!(other.next(cursor.clone()), async {
        sleep(SHORT).await;
        one.add(&late, LONG).await
    });
    added.expect(WORKS);
    assert!(contains(&batch.expect(WORKS).revocations, &late), "a waiting node receives what is added");
    let batch = other.next(cursor.clone()).await.expect(WORKS);
    assert!(contains(&batch.revocations, &late), "a node also receives what was added before it waits");

    let many = ["first", "second", "third"].map(|id| (Revocation::Token(id.into()), LONG));
    let outcomes = one.add_many(&many, false).await;
    assert_eq!(outcomes.len(), many.len(), "each revocation has an outcome");
    assert!(outcomes.iter().all(Result::is_ok), "{WORKS}");
    let (mut cursor, mut received) = (batch.cursor, 0);
    while received < many.len() {
        let batch = other.next(cursor).await.expect(WORKS);
        assert!(!batch.revocations.is_empty(), "the other node receives each of many");
        received += batch.revocations.iter().filter(|(revocation, _)| contains(&many, revocation)).count();
        cursor = batch.cursor;
    }

    let unknown = other.next(Cursor("18446744073709551615".to_owned())).await;
    assert!(unknown.is_err(), "a cursor that is not in the log is an error");

    let cursor = other.load().await.expect(WORKS).cursor;
    let heartbeat = timeout(Duration::from_secs(8), other.next(cursor)).await;
    let heartbeat = heartbeat.expect("a batch comes after about five seconds").expect(WORKS);
    assert!(heartbeat.revocations.is_empty(), "a batch without additions is empty");

    let short = Revocation::Token("short".into());
    one.add(&short, SHORT).await.expect(WORKS);
    sleep(SHORT + SHORT).await;
    let all = other.load().await.expect(WORKS).revocations;
    let is_kept = all.iter().any(|(revocation, keep_for)| *revocation == short && !keep_for.is_zero());
    assert!(!is_kept, "a revocation expires");
}

fn contains(revocations: &[(Revocation, Duration)], revocation: &Revocation) -> bool {
    revocations.iter().any(|(other, _)| other == revocation)
}
