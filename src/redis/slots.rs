//! The slots of a cluster: which server has which, and which slot a key is in.

use redis::{Cmd, FromRedisValue, Value};

use super::failure::Failure;

const SLOTS: u16 = 16_384;

pub(super) type Address = (String, u16);

#[derive(PartialEq, Eq)]
pub(super) struct SlotMap {
    /// First slot, last slot, and the primary that has them.
    ranges: Vec<(u16, u16, Address)>,
    pub(super) replicas: Vec<Address>,
}

impl SlotMap {
    pub(super) fn primary_of(&self, slot: u16) -> Option<&Address> {
        let range = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        range.map(|(_, _, address)| address)
    }

    pub(super) fn primaries(&self) -> impl Iterator<Item = &Address> {
        self.ranges.iter().map(|(_, _, address)| address)
    }

    /// Parses the answer to `CLUSTER SLOTS` from this host: `[[first, last, [host, port, …], [host, port, …] …] …]`.
    /// The first server of a range is the primary, the others are its replicas.
    pub(super) fn parse(answer: Value, host: &str) -> Result<Self, Failure> {
        let unreadable = || Failure::unreachable("a redis cluster answered with slots that cannot be read");
        let entries: Vec<Vec<Value>> = FromRedisValue::from_redis_value(answer).map_err(|_| unreadable())?;
        let mut map = Self { ranges: Vec::new(), replicas: Vec::new() };
        for entry in entries {
            let mut entry = entry.into_iter();
            let (Some(first), Some(last)) = (entry.next(), entry.next()) else { return Err(unreadable()) };
            let [first, last] = [first, last].map(u16::from_redis_value);
            let (Ok(first), Ok(last)) = (first, last) else { return Err(unreadable()) };
            let mut servers = entry.map(|server| parse_address(server, host));
            match servers.next() {
                Some(Some(primary)) => map.ranges.push((first, last, primary)),
                // The address is unknown to the cluster.
                Some(None) => {}
                None => return Err(unreadable()),
            }
            map.replicas.extend(servers.flatten());
        }
        map.ranges.sort();
        map.replicas.sort();
        map.replicas.dedup();
        Ok(map)
    }
}

fn parse_address(server: Value, answering_host: &str) -> Option<Address> {
    let parts: Vec<Value> = FromRedisValue::from_redis_value(server).ok()?;
    let mut parts = parts.into_iter();
    let host: Option<String> = FromRedisValue::from_redis_value(parts.next()?).ok()?;
    let port = u16::from_redis_value(parts.next()?).ok()?;
    match host.as_deref() {
        // The host of the server that answers.
        None | Some("") => Some((answering_host.to_owned(), port)),
        Some("?") => None,
        Some(host) => Some((host.to_owned(), port)),
    }
}

/// The slot of a key: its hash, or the hash of what is in its first braces.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let tag = rest.get(..rest.iter().position(|byte| *byte == b'}')?)?;
        Some(tag).filter(|tag| !tag.is_empty())
    });
    // CRC-16/XMODEM, as in the specification of Redis Cluster.
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

/// The key of a command. A script has several; the first decides.
pub(super) fn key_of(command: &Cmd) -> Vec<u8> {
    let arguments: Vec<&[u8]> = command
        .args_iter()
        .take(4)
        .filter_map(|argument| if let redis::Arg::Simple(bytes) = argument { Some(bytes) } else { None })
        .collect();
    let is_script = arguments.first().is_some_and(|name| name.starts_with(b"EVAL"));
    arguments.get(if is_script { 3 } else { 1 }).map_or_else(Vec::new, |key| key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::slot_of;

    #[test]
    fn slots_match_those_of_a_server() {
        // As answered to `CLUSTER KEYSLOT`.
        for (key, expected) in
            [("123456789", 12739), ("foo", 12182), ("a{foo}b", 12182), ("{}foo", 9500), ("{foo", 13308)]
        {
            assert_eq!(slot_of(key.as_bytes()), expected, "{key}");
        }
    }
}
