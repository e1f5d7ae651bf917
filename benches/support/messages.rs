//! A client that costs almost nothing: its frames are built in advance, and those that come back are only counted.

use std::{
    cell::Cell,
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

/// Messages of one size, as bytes on the wire.
pub(crate) struct Messages {
    pub(crate) name: &'static str,
    /// As many as are in flight at a time.
    pub(crate) sent: Vec<u8>,
    pub(crate) window: usize,
    /// The length of each when it comes back, unmasked.
    pub(crate) received: usize,
}

impl Messages {
    pub(crate) fn new(name: &'static str, size: usize, window: usize) -> Self {
        let frame = |mask| {
            let mut frame = Frame::message(vec![0; size], OpCode::Data(Data::Binary), true);
            frame.header_mut().mask = mask;
            let mut bytes = Vec::new();
            frame.format(&mut bytes).expect("a vector takes everything");
            bytes
        };
        Self { name, sent: frame(Some([1, 2, 3, 4])).repeat(window), window, received: frame(None).len() }
    }

    /// Exchanges messages with an echo server, and returns how many came back.
    pub(crate) async fn exchange(&self, stream: &mut TcpStream, turn: Duration) -> io::Result<f64> {
        let (mut reader, mut writer) = stream.split();
        let due = Cell::new(self.window);
        let more = Notify::new();
        let send = async {
            loop {
                let bytes = self.sent.len() / self.window * due.take();
                writer.write_all(self.sent.get(..bytes).unwrap_or_default()).await?;
                if due.get() == 0 {
                    more.notified().await;
                }
            }
        };
        let receive = async {
            let start = Instant::now();
            let mut buffer = vec![0; 256 << 10];
            let (mut bytes, mut whole) = (0, 0);
            while start.elapsed() < turn {
                bytes += match reader.read(&mut buffer).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    bytes => bytes,
                };
                due.set(due.get() + bytes / self.received - whole);
                whole = bytes / self.received;
                more.notify_one();
            }
            Ok(bytes as f64 / self.received as f64)
        };
        tokio::select! {
            sent = send => sent,
            count = receive => count,
        }
    }
}
