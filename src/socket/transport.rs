//! The connection of a session, with axum's messages and errors.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use axum::{Error, extract::ws::Message};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::task::coop::consume_budget;

use crate::websocket::{Activity, Discarded, Limits, WebSocket};

pub(crate) struct Transport(WebSocket<TokioIo<Upgraded>>);

impl Transport {
    pub(crate) fn new(upgraded: Upgraded, limits: Limits) -> Self {
        Self(WebSocket::new(TokioIo::new(upgraded), limits))
    }

    /// See [`WebSocket::set_read_quota`].
    pub(super) const fn set_read_quota(&mut self, bytes: Option<usize>) {
        self.0.set_read_quota(bytes);
    }

    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.0.set_limits(limits);
    }

    /// See [`WebSocket::is_closing`].
    pub(super) const fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// See [`WebSocket::has_failed`].
    pub(super) fn has_failed(&self) -> bool {
        self.0.has_failed()
    }

    /// See [`WebSocket::can_receive_close`].
    pub(super) fn can_receive_close(&self) -> bool {
        self.0.can_receive_close()
    }

    pub(super) const fn activity(&self) -> Activity {
        self.0.activity()
    }

    pub(super) const fn take_activity(&mut self) -> Activity {
        self.0.take_activity()
    }

    /// See [`WebSocket::ping`].
    pub(super) const fn ping(&mut self) {
        self.0.ping();
    }

    /// See [`WebSocket::has_unwritten`].
    pub(super) const fn has_unwritten(&self) -> bool {
        self.0.has_unwritten()
    }

    /// Receives a message. It consumes budget, so a client that sends without pause cannot starve the timeout around
    /// this.
    pub(crate) async fn recv(&mut self) -> Option<Result<Message, Error>> {
        consume_budget().await;
        poll_fn(|cx| self.poll_next(cx)).await
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        poll_fn(|cx| self.poll_send(cx, &mut message)).await
    }

    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends what is queued and shuts down the writing side. Receiving still works.
    pub(super) async fn shutdown(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_close(cx)).await
    }

    /// See [`WebSocket::poll_discard`].
    pub(super) async fn discard(&mut self) -> io::Result<Discarded> {
        consume_budget().await;
        poll_fn(|cx| self.0.poll_discard(cx)).await
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        self.0.poll_next(cx).map(|next| next.map(|message| message.map_err(Error::new)))
    }

    /// Sends the message and flushes it. Once the message is queued, the option is empty.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, message: &mut Option<Message>) -> Poll<Result<(), Error>> {
        if message.is_some() {
            ready!(self.poll_ready(cx))?;
            if let Some(message) = message.take() {
                self.start_send(message)?;
            }
        }
        self.poll_flush(cx)
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx).map_err(Error::new)
    }

    pub(super) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.0.start_send(message).map_err(Error::new)
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_flush(cx).map_err(Error::new)
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_close(cx).map_err(Error::new)
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.0.is_terminated()
    }
}
