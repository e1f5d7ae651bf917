//! The Lua scripts. Expiry times are by the clock of the server, so that no wrong clock of a node can expire anything.

use std::sync::LazyLock;

use redis::Cmd;

/// A script, and its hash.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

/// The scripts of limits. Each has one key, the sorted set of a subject's leases. The members sort by the age of the
/// sessions, and the scores are the expiry times. An evicted lease stays for a while, as `!` and its member with a
/// negative score, so that it differs from a lost one.
pub(super) struct LimitScripts {
    /// Arguments: the lease, the limit, `evict` or `refuse`, the lifetime in milliseconds, the channel for evictions,
    /// and the leases to release first. Returns the evicted sessions, or nil at the limit.
    pub(super) acquire: Script,
    /// Arguments: the lifetime in milliseconds, and leases. Returns the evicted sessions among them.
    pub(super) renew: Script,
    /// Arguments: leases.
    pub(super) release: Script,
}

pub(super) static LIMITS: LazyLock<LimitScripts> = LazyLock::new(|| LimitScripts {
    acquire: Script::new(ACQUIRE),
    renew: Script::new(RENEW),
    release: Script::new(RELEASE),
});

const ACQUIRE: &str = "
    local set, own, limit, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('ZREMRANGEBYSCORE', set, 0, string.format('(%.0f', now))
    redis.call('ZREMRANGEBYSCORE', set, string.format('(%.0f', -now), '(0')
    redis.call('ZREM', set, own)
    for i = 6, #ARGV do
        redis.call('ZREM', set, ARGV[i], '!' .. ARGV[i])
    end
    local excess = redis.call('ZCOUNT', set, 0, '+inf') - limit + 1
    local evicted = {}
    if excess > 0 then
        if ARGV[3] ~= 'evict' then return nil end
        local oldest = redis.call('ZRANGEBYSCORE', set, 0, '+inf')
        table.sort(oldest)
        for i = 1, excess do
            evicted[i] = string.sub(oldest[i], 13)
            redis.call('ZREM', set, oldest[i])
            redis.call('ZADD', set, string.format('%.0f', -(now + lifetime)), '!' .. oldest[i])
            redis.pcall('PUBLISH', ARGV[5], evicted[i])
        end
    end
    redis.call('ZADD', set, string.format('%.0f', now + lifetime), own)
    if redis.call('PTTL', set) < lifetime then redis.call('PEXPIRE', set, ARGV[4]) end
    return evicted
";

const RENEW: &str = "
    local set, lifetime = KEYS[1], tonumber(ARGV[1])
    local time = redis.call('TIME')
    local expiry = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + lifetime)
    local evicted = {}
    for i = 2, #ARGV do
        if redis.call('ZSCORE', set, '!' .. ARGV[i]) then
            table.insert(evicted, string.sub(ARGV[i], 13))
        else
            redis.call('ZADD', set, expiry, ARGV[i])
        end
    end
    if redis.call('PTTL', set) < lifetime then redis.call('PEXPIRE', set, ARGV[1]) end
    return evicted
";

const RELEASE: &str = "
    for i = 1, #ARGV do
        redis.call('ZREM', KEYS[1], ARGV[i], '!' .. ARGV[i])
    end
";

/// Adds revocations to the set and to the stream.
///
/// Keys: the set, the stream, and the nodes that are restoring. Arguments: a nonce, the length of the stream, the
/// restoring node or an empty string, `more` or an empty string, for how many milliseconds `more` holds, and then each
/// revocation and for how many milliseconds to keep it. If a node restores, the set may have some of the revocations
/// already. The stream is written first, because a script that fails midway keeps what it has written.
pub(super) const ADD: &str = "
    local set, log, restoring, nonce, node = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[3]
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
    local number = last and tonumber(string.match(last[1], '^%d+')) or time[1] * 1000000 + time[2]
    if node ~= '' and ARGV[4] == 'more' then
        redis.call('ZADD', restoring, string.format('%.0f', now + ARGV[5]), node)
        redis.call('PEXPIRE', restoring, ARGV[5])
    end
    for i = 6, #ARGV, 2 do
        local expiry = now + ARGV[i + 1]
        local known = node ~= '' and redis.call('ZSCORE', set, ARGV[i])
        if not known or tonumber(known) < expiry - 60000 then
            number = number + 1
            expiry = string.format('%.0f', expiry)
            redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], string.format('%.0f-0', number),
                'revocation', ARGV[i], 'until', expiry, 'nonce', nonce)
            redis.call('ZADD', set, 'GT', expiry, ARGV[i])
        end
    end
    redis.call('ZREMRANGEBYSCORE', set, '-inf', string.format('(%.0f', now))
    if node ~= '' and ARGV[4] ~= 'more' then redis.call('ZREM', restoring, node) end
";

/// Reads the stream after a cursor.
///
/// Keys: the stream, the nodes that are restoring, and one that never exists. Arguments: the entry of the cursor and
/// its nonce, the maximum number of entries, and a nonce for a first entry. Returns whether the entry is there, the
/// entries after it, the time, and how many nodes are restoring. Without a cursor, returns the last entry, and adds a
/// first one if there is none.
///
/// The script begins with a write that changes nothing. A replica refuses it, and so does a primary that has lost the
/// replicas it requires, so that a node without a primary gets an error instead of an empty answer.
pub(super) const READ: &str = "
    local log, after, nonce = KEYS[1], ARGV[1], ARGV[2]
    redis.call('DEL', KEYS[3])
    local time = redis.call('TIME')
    local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
    local restoring = redis.call('ZCOUNT', KEYS[2], now, '+inf')
    if after == '' then
        local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
        if not last[1] then
            redis.call('XADD', log, string.format('%.0f-0', time[1] * 1000000 + time[2]), 'nonce', ARGV[4])
            last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)
        end
        return {1, last, now, restoring}
    end
    local at = redis.call('XRANGE', log, after, after)[1]
    if not at or at[2][#at[2]] ~= nonce then return {0, {}, now, restoring} end
    return {1, redis.call('XRANGE', log, '(' .. after, '+', 'COUNT', ARGV[3]), now, restoring}
";

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    pub(super) fn by_hash(&self, args: &Cmd) -> Cmd {
        Self::command("EVALSHA", &self.hash, args)
    }

    pub(super) fn by_text(&self, args: &Cmd) -> Cmd {
        Self::command("EVAL", self.text, args)
    }

    fn command(name: &str, script: &str, args: &Cmd) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1);
        for argument in args.args_iter() {
            if let redis::Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}
