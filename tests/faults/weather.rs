//! Which faults there were, and when. What a client may see depends on them.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Redis is away, or a node has not yet found it again.
    RedisAway,
    /// A node has been without Redis for about as long as it may be.
    MayBeStale,
    /// A node has been without Redis for longer.
    IsStale,
    /// A node drains and restarts.
    Restarts,
    /// Tokens are signed with a key that a node may not have fetched yet.
    NewKey,
}

/// From when to when something happened.
pub(crate) type Span = (Instant, Instant);

#[derive(Default)]
pub(crate) struct Weather(Mutex<Vec<Spell>>);

struct Spell {
    condition: Condition,
    /// `None` for all nodes.
    node: Option<usize>,
    from: Instant,
    until: Option<Instant>,
}

impl Weather {
    pub(crate) fn begin(&self, condition: Condition, node: Option<usize>) {
        self.begin_after(Duration::ZERO, condition, node);
    }

    /// The condition begins so much later, if it has not ended by then.
    pub(crate) fn begin_after(&self, delay: Duration, condition: Condition, node: Option<usize>) {
        self.0.lock().unwrap().push(Spell { condition, node, from: Instant::now() + delay, until: None });
    }

    /// The condition held, and ends so much later.
    pub(crate) fn add(&self, condition: Condition, from: Instant, delay: Duration) {
        let until = Some(Instant::now() + delay);
        self.0.lock().unwrap().push(Spell { condition, node: None, from, until });
    }

    /// The condition ends so much later.
    pub(crate) fn end_after(&self, delay: Duration, condition: Condition) {
        for spell in self.0.lock().unwrap().iter_mut().filter(|spell| spell.condition == condition) {
            spell.until.get_or_insert(Instant::now() + delay);
        }
    }

    /// Whether the condition held for this node at some time.
    pub(crate) fn was(&self, condition: Condition, node: usize, (from, until): Span) -> bool {
        self.any(condition, node, |spell| spell.from <= until && spell.until.is_none_or(|end| end >= from))
    }

    /// Whether the condition held for this node all the time.
    pub(crate) fn was_throughout(&self, condition: Condition, node: usize, (from, until): Span) -> bool {
        self.any(condition, node, |spell| spell.from <= from && spell.until.is_none_or(|end| end >= until))
    }

    fn any(&self, condition: Condition, node: usize, matches: impl Fn(&Spell) -> bool) -> bool {
        let is_here = |spell: &&Spell| spell.condition == condition && spell.node.is_none_or(|other| other == node);
        self.0.lock().unwrap().iter().filter(is_here).any(matches)
    }
}
