//! HTTP/1.1, byte by byte: a client that sends what no library would.

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{request::Attack, transport::Reply};

/// A masked text frame `hi`, and what the server makes of it (RFC 6455 §5.2). The masking key is zero.
const FRAME: [u8; 8] = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
const ECHO: [u8; 4] = [0x81, 2, b'h', b'i'];

/// Sends an attack on a connection of its own, and checks what becomes of the connection.
pub(crate) async fn exchange(port: u16, attack: &Attack) -> Result<Reply, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    stream.set_nodelay(true).expect("it is open");
    stream.write_all(&[head(attack), attack.behind.clone()].concat()).await.expect("it is open");
    let mut unread = Vec::new();
    let reply = reply(&mut stream, &mut unread, attack.has_body()).await?;
    let closes = reply.headers.get("connection").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    if reply.status == 101 {
        echoes(&mut stream, unread, attack).await?;
    } else if closes || attack.version == "1.0" {
        // Nothing that came behind the head may have been read as a request or as frames.
        stream.read_to_end(&mut unread).await.map_err(|error| format!("no orderly end: {error}"))?;
        if !unread.is_empty() {
            return Err(format!("{} bytes follow the response", unread.len()));
        }
    } else if attack.behind.is_empty() {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: chat.example\r\n\r\n").await.map_err(|error| error.to_string())?;
        self::reply(&mut stream, &mut unread, true).await.map_err(|error| format!("the next request: {error}"))?;
    }
    Ok(reply)
}

fn head(attack: &Attack) -> Vec<u8> {
    let method = attack.method.as_deref().unwrap_or("GET");
    let mut head = format!("{method} {} HTTP/{}\r\n", attack.target, attack.version).into_bytes();
    for (name, value) in attack.handshake_lines() {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    for line in attack.lines() {
        head.extend_from_slice(line);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The socket works, with a frame that came behind the head or comes now.
async fn echoes(stream: &mut TcpStream, mut unread: Vec<u8>, attack: &Attack) -> Result<(), String> {
    if attack.behind.is_empty() {
        stream.write_all(&FRAME).await.map_err(|error| error.to_string())?;
    }
    while unread.len() < ECHO.len() {
        more(stream, &mut unread).await?;
    }
    if unread == ECHO { Ok(()) } else { Err(format!("the echo is {unread:?}")) }
}

/// Reads one response. Leaves in `unread` what follows it.
async fn reply(stream: &mut TcpStream, unread: &mut Vec<u8>, has_body: bool) -> Result<Reply, String> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        more(stream, unread).await?;
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let status = lines.next().and_then(|line| str::from_utf8(line.get(9..12)?).ok()?.parse().ok());
    let status = status.ok_or("no status")?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a line without a colon")?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let length = length.filter(|_| has_body).unwrap_or(0);
    while unread.len() < length {
        more(stream, unread).await?;
    }
    Ok(Reply { status, headers, body: unread.drain(..length).collect() })
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Result<(), String> {
    match stream.read_buf(unread).await {
        Ok(1..) => Ok(()),
        Ok(0) => Err(format!("the connection has ended after {} bytes", unread.len())),
        Err(error) => Err(error.to_string()),
    }
}
