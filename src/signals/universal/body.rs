//! The body of a revocation request. It names the user to log out.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    json,
    signals::{SignalErrorKind, SubjectId},
};

/// The draft and Okta have `sub_id`; drafts before 2024 had `subject`.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    sub_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    subject: Option<&'a RawValue>,
}

/// Reads the subject identifier. Unknown members are ignored; repeated ones are refused.
pub(super) fn parse(body: &[u8]) -> Result<SubjectId, SignalErrorKind> {
    let malformed = || SignalErrorKind::MalformedSubject;
    let members: Members<'_> = json::from_object(body).map_err(|_| malformed())?;
    let ((Some(subject), None) | (None, Some(subject))) = (members.sub_id, members.subject) else {
        return Err(malformed());
    };
    SubjectId::from_bytes(subject.get().as_bytes()).map_err(|_| malformed())
}
