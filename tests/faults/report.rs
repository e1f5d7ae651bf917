//! What was seen, how often, and what the model does not allow.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use crate::model::{Answer, End, Kind, Seen};

/// How many violations are printed.
const MAX_PRINTED: usize = 20;

type Outcome = (Kind, Answer, Option<End>);

pub(crate) struct Report {
    pub(crate) start: Instant,
    handshakes: AtomicUsize,
    counts: Mutex<BTreeMap<Outcome, usize>>,
    violations: Mutex<Vec<String>>,
}

impl Report {
    pub(crate) fn new() -> Self {
        let (handshakes, counts, violations) = Default::default();
        Self { start: Instant::now(), handshakes, counts, violations }
    }

    pub(crate) fn add(&self, seen: Seen, verdict: Result<(), String>) {
        self.handshakes.fetch_add(usize::from(seen.kind != Kind::AsksForTicket), SeqCst);
        let outcome = (seen.kind, seen.answer.0, seen.end.map(|(end, _)| end));
        *self.counts.lock().unwrap().entry(outcome).or_default() += 1;
        if let Err(violation) = verdict {
            self.add_violation(violation);
        }
    }

    pub(crate) fn add_violation(&self, violation: String) {
        println!("{:.1?}: {violation}", self.start.elapsed());
        self.violations.lock().unwrap().push(violation);
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.handshakes.load(SeqCst)
    }

    pub(crate) fn print(&self) {
        let mut last = None;
        for ((kind, answer, end), count) in self.counts.lock().unwrap().iter() {
            let name = if last == Some(*kind) { String::new() } else { format!("{kind:?}") };
            last = Some(*kind);
            let answer = match answer {
                Answer::Status(status) => status.to_string(),
                other => format!("{other:?}").to_lowercase(),
            };
            let end = match end {
                Some(End::Closed(code, reason)) => format!("then {code} {reason}"),
                Some(End::ClosedOtherwise(code, reason)) => format!("then {code} {reason:?}"),
                Some(end) => format!("then {}", format!("{end:?}").to_lowercase()),
                None => String::new(),
            };
            println!("{name:21} {answer:10} {end:30} {count:6}");
        }
    }

    /// # Panics
    ///
    /// If the model does not allow something that was seen.
    pub(crate) fn assert_allowed(&self) {
        let violations = self.violations.lock().unwrap();
        let first = violations.iter().take(MAX_PRINTED).cloned().collect::<Vec<_>>().join("\n");
        assert!(violations.is_empty(), "{} violations of the model:\n{first}", violations.len());
    }
}
