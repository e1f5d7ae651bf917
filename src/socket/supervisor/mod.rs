//! Runs a handler and enforces the end of its session.

mod asker;
mod demander;
mod future;
mod prober;
mod refresher;

use std::{future::Future, pin::Pin};

pub(crate) use future::Supervisor;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
