//! What clients share: the servers, the issuer, and where they note what they see.

use std::time::Instant;

use crate::{
    model::{Answer, End, Kind, Seen, check},
    node::Node,
    report::Report,
    tokens::Tokens,
    weather::{Span, Weather},
    wire::Wire,
};

pub(crate) struct Stage {
    pub(crate) nodes: [Node; 2],
    pub(crate) tokens: Tokens,
    pub(crate) weather: Weather,
    pub(crate) report: Report,
}

/// A socket.
pub(crate) struct Opened {
    pub(crate) wire: Wire,
    pub(crate) kind: Kind,
    /// How it has ended, if it has.
    pub(crate) end: Option<End>,
    node: usize,
    answered: Span,
}

impl Stage {
    pub(crate) async fn connect(&self, node: usize) -> Option<Wire> {
        let address = self.nodes[node].running()?.address;
        Wire::connect(address).await
    }

    /// Sends a handshake. Notes the answer, unless a socket was opened.
    pub(crate) async fn shake(&self, kind: Kind, node: usize, head: &[u8], is_slow: bool) -> Option<Opened> {
        let from = Instant::now();
        let Some(mut wire) = self.connect(node).await else {
            self.note(kind, node, (Answer::NoListener, (from, Instant::now())), None);
            return None;
        };
        wire.is_slow = is_slow;
        wire.send(head).await;
        let answer = wire.answer().await;
        let answered = (from, Instant::now());
        if answer == Answer::Status(101) {
            return Some(Opened { wire, kind, end: None, node, answered });
        }
        // RFC 9112 §9.6: nothing that comes behind a refused handshake is answered.
        let is_over = answer == Answer::Cut || wire.until_closed().await;
        self.note(kind, node, (if is_over { answer } else { Answer::Hung }, answered), None);
        None
    }

    /// Sends a handshake that is not admitted, as the model says.
    pub(crate) async fn shake_in_vain(&self, kind: Kind, node: usize, head: &[u8], is_slow: bool) {
        if let Some(opened) = self.shake(kind, node, head, is_slow).await {
            opened.reset(self);
        }
    }

    /// Notes what a client saw, and checks it.
    pub(crate) fn note(&self, kind: Kind, node: usize, answer: (Answer, Span), end: Option<(End, Span)>) {
        let seen = Seen { kind, node, answer, end };
        let verdict = check(&self.weather, &seen);
        self.report.add(seen, verdict);
    }
}

impl Opened {
    pub(crate) fn finish(self, stage: &Stage, end: End) {
        let since = (self.answered.0, Instant::now());
        stage.note(self.kind, self.node, (Answer::Status(101), self.answered), Some((end, since)));
    }

    /// Closes the socket, unless it has ended.
    pub(crate) async fn close(mut self, stage: &Stage) {
        let end = match self.end.take() {
            Some(end) => end,
            None => self.wire.close().await,
        };
        self.finish(stage, end);
    }

    pub(crate) fn reset(self, stage: &Stage) {
        let Self { wire, kind, node, answered, .. } = self;
        wire.reset();
        let since = (answered.0, Instant::now());
        stage.note(kind, node, (Answer::Status(101), answered), Some((End::Left, since)));
    }
}
