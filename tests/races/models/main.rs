//! The two places where several parties race without one lock around all of it, run in thousands of orders.
//!
//! [`life`] is the life of a session: its end, refresh, deadline, recheck, registration and lease. [`revocation`] is a
//! node's set of revocations against registration.
//!
//! This package compiles the crate's own sources with the locks and atomics of [`shuttle`], which decides at each of
//! their operations which thread goes on. Half of the orders are chosen by PCT, which finds an error of a few switches
//! with a known probability; the others are drawn at random. If a session is checked before it is registered, PCT finds
//! it in the first hundreds of orders, and 5,000 random ones do not. The crate's tasks run on a tokio runtime that one
//! of the threads drives.
//!
//! What holds in every order:
//!
//! - A session ends once, with one reason. Its handles, watchers, body, event and metrics all tell that reason, once.
//! - After the end nothing revives the session, and its deadline stays.
//! - When an end or a revocation returns, no admitted session that it means is open. One that is being admitted is
//!   refused, or has ended before its handler sees it.
//! - Each slot and each lease is given back once, and no registration stays.
//! - An order from another node is never lost, not even if the task that follows the store is aborted in the middle.
//!
//! `RACES_SEED` (1 by default) chooses the orders, and `RACES_ORDERS` (10,000) how many there are per model. If a model
//! fails, both are printed, with the number of the order that failed. The same seed gives the same orders, as far as
//! the models choose: the hashes of maps differ from run to run.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod life;
mod limits;
mod observer;
mod revocation;
mod support;
