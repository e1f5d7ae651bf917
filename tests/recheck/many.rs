//! Ten thousand sessions of one moment.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{Answers, PERIOD, accepted, layer, sessions_of};

const SESSIONS: usize = 10_000;

fn tokens() -> impl Iterator<Item = String> {
    (0..SESSIONS).map(|number| format!("user{number}"))
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_moment_do_not_ask_at_one_moment() {
    let answers = Answers::yes();
    let start = Instant::now();
    let sessions = sessions_of(layer(answers.clone()), tokens()).await;
    sleep(PERIOD).await;
    let waits: Vec<_> = answers.times()[SESSIONS..].iter().map(|at| *at - start).collect();
    assert_eq!(waits.len(), SESSIONS);
    assert!(waits.iter().all(|wait| (PERIOD * 3 / 4..=PERIOD).contains(wait)), "never later than asked");
    // Even: each of the fifteen seconds has its fifteenth, within a third.
    for second in 45..60 {
        let of_second = waits.iter().filter(|wait| wait.as_secs() == second).count();
        assert!((SESSIONS / 15 * 2 / 3..SESSIONS / 15 * 4 / 3).contains(&of_second), "{second}: {of_second}");
    }
    assert!(waits.into_iter().collect::<HashSet<_>>().len() > 500);
    drop(sessions);
}

#[tokio::test(start_paused = true)]
async fn rechecks_are_bounded_in_parallel() {
    for (limit, count) in [(None, SESSIONS), (Some(7), 1000)] {
        let answers = Answers::yes();
        let mut layer = layer(answers.clone());
        if let Some(limit) = limit {
            layer = layer.max_concurrent_rechecks(limit).unwrap();
        }
        let sessions = sessions_of(layer, tokens().take(count)).await;
        // Slower than the sessions come due.
        answers.set_async(async |token| {
            sleep(Duration::from_millis(500)).await;
            Ok(accepted(&token))
        });
        sleep(PERIOD * 2).await;
        assert_eq!(answers.most(), limit.unwrap_or(32));
        assert_eq!(answers.running(), limit.unwrap_or(32));
        assert!(sessions.iter().all(|session| session.end_reason().is_none()));
    }
    assert!(layer(Answers::yes()).max_concurrent_rechecks(0).is_err());
}
