//! The Lua scripts. Expiry times are by the clock of the server, so that no wrong clock of a node can expire anything.

use std::sync::LazyLock;

use redis::Cmd;

/// A script of limits, and its hash.
pub(super) struct Script {
    text: String,
    hash: String,
    /// How many keys it has.
    keys: usize,
}

/// The scripts of limits. Each but `index` has two keys, which are in one slot.
///
/// - The sorted set of a subject's leases. The members sort by the age of the sessions, and the scores are the expiry
///   times. An evicted lease stays for a while, as `!` and its member with a negative score, so that it differs from a
///   lost one. So does a released lease that a late command may put back.
/// - The hash of their details, by member.
pub(super) struct LimitScripts {
    /// Arguments: the lifetime in milliseconds, the lease, its details, the limit, `evict` or `refuse`, the channel for
    /// evictions, and the leases to release first. Returns the evicted sessions, or nil at the limit.
    pub(super) acquire: Script,
    /// Arguments: the lifetime in milliseconds, and each lease and its details. Returns the evicted sessions among
    /// them.
    pub(super) renew: Script,
    /// Arguments: for how many milliseconds released leases are remembered, or zero; and leases.
    pub(super) release: Script,
    /// Arguments: leases. Returns the details of each, or nil if there is no such lease.
    pub(super) details: Script,
    /// Key: the sorted set of issuers that subjects with leases have. The scores are the expiry times. Arguments: the
    /// lifetime in milliseconds, and issuers.
    pub(super) index: Script,
}

pub(super) static LIMITS: LazyLock<LimitScripts> = LazyLock::new(|| LimitScripts {
    acquire: Script::new(&[NOW, LEASES, PUT, ACQUIRE], 2),
    renew: Script::new(&[NOW, LEASES, PUT, RENEW], 2),
    release: Script::new(&[NOW, LEASES, RELEASE], 2),
    details: Script::new(&[NOW, DETAILS], 2),
    index: Script::new(&[NOW, INDEX], 1),
});

const NOW: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
";

const LEASES: &str = "
    local set, details = KEYS[1], KEYS[2]
    local function remove(lease)
        redis.call('ZREM', set, lease, '!' .. lease)
        redis.call('HDEL', details, lease)
    end
";

/// Puts a lease there, and keeps both keys for as long.
const PUT: &str = "
    local lifetime = tonumber(ARGV[1])
    local expiry = string.format('%.0f', now + lifetime)
    local function put(lease, text)
        redis.call('ZADD', set, expiry, lease)
        if text == '' then
            redis.call('HDEL', details, lease)
        else
            redis.call('HSET', details, lease, text)
        end
    end
    local function keep()
        local longest = string.format('%.0f', math.max(lifetime, redis.call('PTTL', set)))
        redis.call('PEXPIRE', set, longest)
        redis.call('PEXPIRE', details, longest)
    end
";

const ACQUIRE: &str = "
    local own, limit = ARGV[2], tonumber(ARGV[4])
    for _, lease in ipairs(redis.call('ZRANGEBYSCORE', set, 0, string.format('(%.0f', now))) do
        remove(lease)
    end
    redis.call('ZREMRANGEBYSCORE', set, string.format('(%.0f', -now), '(0')
    if redis.call('ZSCORE', set, '!' .. own) then return {} end
    redis.call('ZREM', set, own)
    for i = 7, #ARGV do
        remove(ARGV[i])
    end
    local excess = redis.call('ZCOUNT', set, 0, '+inf') - limit + 1
    local evicted = {}
    if excess > 0 then
        if ARGV[5] ~= 'evict' then return nil end
        local oldest = redis.call('ZRANGEBYSCORE', set, 0, '+inf')
        table.sort(oldest)
        for i = 1, excess do
            evicted[i] = string.sub(oldest[i], 13)
            remove(oldest[i])
            redis.call('ZADD', set, '-' .. expiry, '!' .. oldest[i])
            redis.pcall('PUBLISH', ARGV[6], evicted[i])
        end
    end
    put(own, ARGV[3])
    keep()
    return evicted
";

const RENEW: &str = "
    local evicted = {}
    for i = 2, #ARGV, 2 do
        if redis.call('ZSCORE', set, '!' .. ARGV[i]) then
            table.insert(evicted, string.sub(ARGV[i], 13))
        else
            put(ARGV[i], ARGV[i + 1])
        end
    end
    keep()
    return evicted
";

const RELEASE: &str = "
    local remembered = tonumber(ARGV[1])
    for i = 2, #ARGV do
        remove(ARGV[i])
        if remembered > 0 then
            redis.call('ZADD', set, string.format('-%.0f', now + remembered), '!' .. ARGV[i])
        end
    end
    if remembered > 0 then
        redis.call('PEXPIRE', set, string.format('%.0f', math.max(remembered, redis.call('PTTL', set))))
    end
";

const DETAILS: &str = "
    local found = {}
    for i, lease in ipairs(ARGV) do
        local expiry = redis.call('ZSCORE', KEYS[1], lease)
        found[i] = expiry and tonumber(expiry) >= now and (redis.call('HGET', KEYS[2], lease) or '')
    end
    return found
";

const INDEX: &str = "
    local issuers = KEYS[1]
    local expiry = string.format('%.0f', now + ARGV[1])
    for i = 2, #ARGV do
        redis.call('ZADD', issuers, 'GT', expiry, ARGV[i])
    end
    redis.call('ZREMRANGEBYSCORE', issuers, '-inf', string.format('(%.0f', now))
    if redis.call('PTTL', issuers) < tonumber(ARGV[1]) then redis.call('PEXPIRE', issuers, ARGV[1]) end
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
    /// A script of limits, in parts.
    fn new(parts: &[&str], keys: usize) -> Self {
        let text = parts.concat();
        Self { hash: redis::Script::new(&text).get_hash().to_owned(), text, keys }
    }

    pub(super) fn by_hash(&self, args: &Cmd) -> Cmd {
        self.command("EVALSHA", &self.hash, args)
    }

    pub(super) fn by_text(&self, args: &Cmd) -> Cmd {
        self.command("EVAL", &self.text, args)
    }

    /// The arguments begin with the keys.
    fn command(&self, name: &str, script: &str, args: &Cmd) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys);
        for argument in args.args_iter() {
            if let redis::Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        command
    }
}
