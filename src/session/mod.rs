//! Authenticated connections, and the registry of all that are live.

mod admission_error;
mod any;
mod close;
mod config;
mod core;
mod deadline;
mod drain;
mod end;
mod end_watch;
mod handle;
mod head;
mod keep_alive;
mod kind;
mod limits;
mod meta;
mod recheck;
mod refresh;
mod refresh_error;
mod refresh_reply;
mod registry;
mod session_ended;
mod start;
mod step_up;
mod watcher;

#[cfg(test)]
pub(crate) mod doc_table;

pub use admission_error::AdmissionError;
pub use close::CloseCodes;
pub use drain::{Drain, Drained};
pub use end::EndReason;
pub use handle::Session;
pub use kind::SessionKind;
pub use limits::Limits;
pub use meta::SessionMeta;
pub use refresh_error::{RefreshError, RefreshErrorKind};
pub use registry::{OfSubject, SessionInfo, SessionPage, Sessions};
pub use session_ended::SessionEnded;
pub use step_up::StepUpError;
pub use watcher::SessionWatcher;

pub(crate) use any::AnySession;
pub(crate) use close::CLOSE_TIMEOUT;
pub(crate) use config::SessionConfig;
pub(crate) use core::{ConnectionGuard, Demand, SessionCore, Status};
pub(crate) use end::End;
pub(crate) use end_watch::EndWatch;
pub(crate) use head::Head;
pub(crate) use keep_alive::KeepAlive;
pub(crate) use recheck::RecheckLimit;
pub(crate) use refresh_reply::RefreshReply;
pub(crate) use registry::Permit;
pub(crate) use start::SessionStart;

use core::TokenInfo;
use registry::Registry;
