//! What happens in a run. It follows from the seed alone.

use std::time::Duration;

use crate::model::Kind;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Redis is killed, and starts again with its data.
    Kill,
    /// Redis stops answering (SIGSTOP), and goes on.
    Pause,
    /// The replica takes over, and the primary becomes its replica.
    FailOver,
    /// Redis is away for longer than a node that fails closed may be without it.
    LongOutage,
    /// The node drains, stops, and starts again on another port.
    Restart(usize),
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers that belong to one part of a plan.
    pub(crate) fn new(seed: u64, part: usize) -> Self {
        let mut random = Self(seed ^ (part as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.below(to - from)) as u64)
    }
}

/// What one client does.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    pub(crate) node: usize,
    /// The node that a second party uses: the one that revokes, or that the same subject visits next.
    pub(crate) other: usize,
    /// How long it stays.
    pub(crate) stay: Duration,
    /// Where the token is.
    pub(crate) source: Source,
    /// For everything else.
    pub(crate) random: Random,
}

#[derive(Clone, Copy)]
pub(crate) enum Source {
    Subprotocol,
    Authorization,
    Cookie,
}

/// How many of a hundred honest and of fifty hostile clients are of each kind.
const WEIGHTS: &[(usize, Kind)] = &[
    (26, Kind::Chats),
    (8, Kind::ChatsSlowly),
    (7, Kind::Refreshes),
    (10, Kind::ComesByTicket),
    (5, Kind::Expires),
    (4, Kind::IgnoresClose),
    (3, Kind::FallsSilent),
    (5, Kind::ShutsDown),
    (4, Kind::ResetsInHead),
    (4, Kind::ResetsAfterHead),
    (4, Kind::ResetsInFrame),
    (4, Kind::ResetsInClose),
    (12, Kind::IsRevoked),
    (4, Kind::IsEvicted),
    (4, Kind::SendsUnmasked),
    (4, Kind::SendsTooMuch),
    (3, Kind::HasNoToken),
    (7, Kind::HasForgedToken),
    (2, Kind::HasUnknownKey),
    (3, Kind::HasWithdrawnKey),
    (4, Kind::HasUnsignedToken),
    (4, Kind::HasExpiredToken),
    (4, Kind::HasOtherAudience),
    (3, Kind::HasTwoTokens),
    (3, Kind::HasTooLongToken),
    (4, Kind::ComesFromForeignPage),
    (3, Kind::SendsGarbage),
    (2, Kind::SendsFramesEarly),
];

impl Visit {
    pub(crate) fn new(seed: u64, number: usize) -> Self {
        let mut random = Random::new(seed, number);
        let mut drawn = random.below(WEIGHTS.iter().map(|(weight, _)| weight).sum());
        let of_drawn = |(weight, _): &&(usize, Kind)| {
            let is_drawn = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            is_drawn
        };
        let (_, kind) = WEIGHTS.iter().find(of_drawn).expect("a kind");
        let source = [Source::Subprotocol, Source::Authorization, Source::Cookie][random.below(3)];
        let (node, other, stay) = (random.below(2), random.below(2), random.millis(0, 6000));
        Self { number, kind: *kind, node, other, stay, source, random }
    }
}
