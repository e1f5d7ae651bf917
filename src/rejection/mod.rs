//! Refusals, and the responses they become.

mod challenge;
mod grpc;
mod kind;
mod log;
mod refusal;
mod response;

pub use self::{kind::RejectionKind, refusal::Rejection};

pub(crate) use self::{
    challenge::Challenges,
    grpc::{add_grpc_status, is_grpc},
    log::Throttles,
};
