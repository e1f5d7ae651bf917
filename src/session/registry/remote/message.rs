//! What nodes send to each other: JSON, with a version.
//!
//! ```json
//! {"version":1,"type":"refresh","number":7,"from":"…","session":"…","token":"…","sender":{"id":"alice","issuer":"unnamed"}}
//! {"version":1,"type":"recheck","number":8,"from":"…","subject":{"id":"alice"},"or_end":false}
//! {"version":1,"type":"rechecked","number":8,"sessions":2}
//! {"version":1,"type":"answer","number":7,"reply":{"refreshed":{"expires_in":{"secs":3600,"nanos":0}}}}
//! ```

use std::mem;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[cfg(feature = "dpop")]
use crate::token::Proof;
use crate::{
    id::{NodeId, ScopedId, SessionId},
    session::RefreshReply,
    token::Token,
};

/// Nodes ignore messages of other versions, so that two releases can run side by side.
const VERSION: u32 = 1;

/// The longest message in bytes. A token of the default maximum length takes a sixteenth.
pub(super) const MAX_LEN: usize = 128 * 1024;

/// No `Debug`: it may hold a token.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    Refresh {
        number: u64,
        /// The node to answer to.
        from: NodeId,
        session: SessionId,
        #[serde(flatten)]
        token: SentToken,
        /// Whose token it is, if the asking node knows.
        sender: Option<ScopedId>,
    },
    Answer {
        number: u64,
        reply: RefreshReply,
    },
    Recheck {
        number: u64,
        /// The node to answer to.
        from: NodeId,
        subject: ScopedId,
        /// Ends the sessions that cannot be rechecked.
        or_end: bool,
    },
    Rechecked {
        number: u64,
        sessions: usize,
    },
}

/// A token, and the proof that came with it. Older nodes ignore the proof.
#[derive(Serialize, Deserialize)]
pub(super) struct SentToken {
    token: Zeroizing<Box<str>>,
    #[cfg(feature = "dpop")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<Proof>,
}

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    message: &'a Message,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Message {
    /// `None` if it is too long, which a token or a subject can be.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let bytes = serde_json::to_vec(&Versioned { version: VERSION, message: self }).ok()?;
        (bytes.len() <= MAX_LEN).then_some(bytes)
    }

    /// `None` if this is not a message of this version.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let Version { version } = serde_json::from_slice(bytes).ok()?;
        if version != VERSION {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

impl From<&Token> for SentToken {
    fn from(token: &Token) -> Self {
        Self {
            token: Zeroizing::new(token.expose().into()),
            #[cfg(feature = "dpop")]
            proof: token.proof().cloned(),
        }
    }
}

impl From<SentToken> for Token {
    fn from(mut sent: SentToken) -> Self {
        let token = Self::new(mem::take(&mut *sent.token));
        #[cfg(feature = "dpop")]
        let token = token.with_proof(sent.proof);
        token
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refresh(token: &str) -> Message {
        let sender = Some(ScopedId::without_issuer("alice"));
        let session = SessionId::next();
        let token = SentToken::from(&Token::new(token));
        Message::Refresh { number: u64::MAX, from: NodeId::random(), session, token, sender }
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let bytes = refresh("a \"token\" \u{e9}").to_bytes().expect("short enough");
        let Some(Message::Refresh { number: u64::MAX, token, sender, .. }) = Message::from_bytes(&bytes) else {
            unreachable!("a refresh")
        };
        assert_eq!(
            (Token::from(token).expose(), sender),
            ("a \"token\" \u{e9}", Some(ScopedId::without_issuer("alice")))
        );

        let subject = ScopedId::of("https://id.example.com", "alice");
        let recheck = Message::Recheck { number: 8, from: NodeId::random(), subject: subject.clone(), or_end: true };
        let bytes = recheck.to_bytes().expect("short enough");
        let read = Message::from_bytes(&bytes);
        assert!(matches!(read, Some(Message::Recheck { subject: read, or_end: true, .. }) if read == subject));
        let bytes = Message::Rechecked { number: 8, sessions: 2 }.to_bytes().expect("short enough");
        assert!(matches!(Message::from_bytes(&bytes), Some(Message::Rechecked { number: 8, sessions: 2 })));

        let retry_after = Duration::from_millis(1500);
        let replies = [
            RefreshReply::Refreshed { expires_in: None },
            RefreshReply::Refreshed { expires_in: Some(Duration::MAX) },
            RefreshReply::Unknown,
            RefreshReply::Invalid,
            RefreshReply::Insufficient { scope: None },
            RefreshReply::Insufficient { scope: Some("chat:write".to_owned()) },
            RefreshReply::InProgress,
            RefreshReply::TooManyAttempts { retry_after: Some(retry_after) },
            RefreshReply::TooManyAttempts { retry_after: None },
            RefreshReply::Unavailable { retry_after },
        ];
        for reply in replies {
            let bytes = Message::Answer { number: 7, reply: reply.clone() }.to_bytes().expect("short enough");
            let read = Message::from_bytes(&bytes);
            assert!(matches!(read, Some(Message::Answer { number: 7, reply: read }) if read == reply), "{reply:?}");
        }
    }

    #[test]
    fn other_messages_are_ignored() {
        let own = String::from_utf8(refresh("token").to_bytes().expect("short enough")).expect("json");
        let answer = r#"{"version":1,"type":"answer","number":1,"reply":"unknown"}"#;
        assert!(Message::from_bytes(answer.as_bytes()).is_some());
        let longest = format!("{answer}{}", " ".repeat(MAX_LEN - answer.len()));
        assert!(Message::from_bytes(longest.as_bytes()).is_some());
        for other in [
            String::new(),
            "null".to_owned(),
            "[".repeat(100_000),
            own.replace(r#""version":1"#, r#""version":2"#),
            own.replace(r#""version":1,"#, ""),
            own.replace(r#""type":"refresh""#, r#""type":"other""#),
            own.replace(r#""from":""#, r#""from":"x"#),
            answer.replace('1', "-1"),
            answer.replace("unknown", "other"),
            answer.replace(
                r#""unknown""#,
                r#"{"refreshed":{"expires_in":{"secs":18446744073709551615,"nanos":4294967295}}}"#,
            ),
            format!("{own}{}", " ".repeat(MAX_LEN)),
            own.get(..own.len() - 1).unwrap_or_default().to_owned(),
        ] {
            assert!(Message::from_bytes(other.as_bytes()).is_none(), "{}", other.get(..200).unwrap_or(&other));
        }
        assert!(refresh(&"a".repeat(MAX_LEN)).to_bytes().is_none(), "a message that no node would read is not sent");
    }
}
