//! A TCP proxy: a host name that moves to another server, while open connections stay with the old one.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
};

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    target: AtomicU16,
    accepted: AtomicUsize,
    /// The connections up to this number are held back.
    held: watch::Sender<usize>,
    /// The answer to each command on the connections up to this number, instead of the server's.
    answer: Mutex<(usize, &'static str)>,
}

impl Proxy {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State { target: AtomicU16::new(target), ..State::default() });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = shared.accepted.fetch_add(1, SeqCst) + 1;
                tokio::spawn(pass(client, number, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sets the server of new connections.
    pub(crate) fn set_target(&self, target: u16) {
        self.state.target.store(target, SeqCst);
    }

    /// Answers each command on a connection that is open now with this line.
    pub(crate) fn override_answers(&self, line: &'static str) {
        *self.state.answer.lock().expect("no panic") = (self.accepted(), line);
    }

    /// Holds back what clients send on connections that are open now.
    pub(crate) fn hold(&self) {
        self.state.held.send_replace(self.accepted());
    }

    /// Passes on what was held back, also of clients that have closed their connections.
    pub(crate) fn pass_on(&self) {
        self.state.held.send_replace(0);
    }

    /// How many connections were opened.
    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(SeqCst)
    }
}

async fn pass(client: TcpStream, number: usize, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", state.target.load(SeqCst))).await else { return };
    let _ = client.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (answers, mut to_write) = tokio::sync::mpsc::unbounded_channel();
    let mut reading = tokio::spawn(read(from_server, answers.clone()));
    let writing = tokio::spawn(async move {
        while let Some(bytes) = to_write.recv().await {
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = [0; 16_384];
    loop {
        let len = tokio::select! {
            read = from_client.read(&mut bytes) => match read {
                Ok(len @ 1..) => len,
                _ => break,
            },
            // The server has closed its connection.
            _ = &mut reading => break,
        };
        let _ = state.held.subscribe().wait_for(|held| number > *held).await;
        let bytes = bytes.get(..len).unwrap_or_default();
        let (up_to, line) = *state.answer.lock().expect("no panic");
        if number <= up_to {
            // One for each command of the request.
            let commands = bytes.split(|byte| *byte == b'*').count() - 1;
            let _ = answers.send(line.repeat(commands.max(1)).into_bytes());
        } else if to_server.write_all(bytes).await.is_err() {
            break;
        }
    }
    reading.abort();
    writing.abort();
}

async fn read(mut server: OwnedReadHalf, answers: tokio::sync::mpsc::UnboundedSender<Vec<u8>>) {
    let mut bytes = [0; 16_384];
    while let Ok(len @ 1..) = server.read(&mut bytes).await {
        if answers.send(bytes.get(..len).unwrap_or_default().to_vec()).is_err() {
            return;
        }
    }
}
