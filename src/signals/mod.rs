//! What an identity provider says of a session after it began, and what follows for open connections.

mod resolve;
mod subject;

pub use resolve::ResolveSubject;
pub use subject::{ComplexSubject, OtherSubject, ParseSubjectIdError, SubjectId};
