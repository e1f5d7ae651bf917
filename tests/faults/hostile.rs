//! Clients without a valid token. None of them is ever admitted.

use crate::{
    clients::{credentials, head},
    model::Kind,
    plan::{Source, Visit},
    stage::Stage,
    wire::{TEXT, frame},
};

/// Longer than the cap of the layer, 8 KiB.
const TOO_LONG: usize = 9 * 1024;
/// One of so many sends byte by byte.
const SLOW: usize = 8;

pub(crate) const fn is_hostile(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::HasNoToken
            | Kind::HasForgedToken
            | Kind::HasUnknownKey
            | Kind::HasWithdrawnKey
            | Kind::HasUnsignedToken
            | Kind::HasExpiredToken
            | Kind::HasOtherAudience
            | Kind::HasTwoTokens
            | Kind::HasTooLongToken
            | Kind::ComesFromForeignPage
            | Kind::SendsGarbage
            | Kind::SendsFramesEarly
    )
}

pub(crate) async fn visit(stage: &Stage, mut visit: Visit) {
    let tokens = &stage.tokens;
    let lines = match visit.kind {
        Kind::HasForgedToken | Kind::SendsFramesEarly => credentials(visit.source, &tokens.forged()),
        Kind::HasUnknownKey => credentials(visit.source, &tokens.with_unknown_key(visit.number)),
        Kind::HasWithdrawnKey => credentials(visit.source, &tokens.with_withdrawn_key()),
        Kind::HasUnsignedToken => credentials(visit.source, &tokens.unsigned()),
        Kind::HasExpiredToken => credentials(visit.source, &tokens.expired()),
        Kind::HasOtherAudience => credentials(visit.source, &tokens.of_other_audience()),
        Kind::HasTooLongToken => credentials(visit.source, &"a".repeat(TOO_LONG)),
        Kind::HasTwoTokens => [(Source::Subprotocol, "1"), (Source::Authorization, "2")]
            .map(|(source, id)| credentials(source, &tokens.valid("mallory", id, 600)))
            .concat(),
        Kind::ComesFromForeignPage => {
            let lines = credentials(Source::Cookie, &tokens.valid("alice", "victim", 600));
            lines.replace("Origin: https://", "Origin: https://evil.")
        }
        Kind::SendsGarbage => "no header\r\n".to_owned(),
        _ => String::new(),
    };
    let mut bytes = head("/chat", &lines);
    if visit.kind == Kind::SendsFramesEarly {
        bytes.extend(frame(TEXT, b"hi"));
    }
    let is_slow = visit.random.below(SLOW) == 0 && visit.kind != Kind::HasTooLongToken;
    stage.shake_in_vain(visit.kind, visit.node, &bytes, is_slow).await;
}
