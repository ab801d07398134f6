//! What Redis does in one step.

use std::sync::LazyLock;

use redis::Script;

/// KEYS: nodes, info. ARGV: node, lease in ms, info. A beat of a node: its lease holds from now on by
/// Redis' clock. Gives `{now, {node, ends, info}…}` of all that live.
pub(super) static BEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now)) do
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
local all = {}
for _, node in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  table.insert(all, node)
  table.insert(all, redis.call('HGET', KEYS[2], node) or '')
end
return all
",
    )
});

/// KEYS: nodes, info. ARGV: node. A node leaves.
pub(super) static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])
",
    )
});

/// KEYS: owner. ARGV: the token that is expected to be there (empty: none), the node that owns from
/// now on, how long it is remembered in s. Gives the new token, or what is there instead:
/// `{1, token}` or `{0, node, token}`. Tokens are Redis' time in microseconds: a later one is
/// greater, also when what was known before is forgotten.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local node, token = unpack(redis.call('HMGET', KEYS[1], 'node', 'token'))
if (token or '') ~= ARGV[1] then return {0, node or '', token or ''} end
local t = redis.call('TIME')
local new = string.format('%.0f', t[1] * 1000000 + t[2])
if token and tonumber(token) >= tonumber(new) then new = string.format('%.0f', tonumber(token) + 1) end
redis.call('HSET', KEYS[1], 'node', ARGV[2], 'token', new)
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {1, ARGV[2], new}
",
    )
});

/// KEYS: owner, log. ARGV: token, `PUBLISH` or `SPUBLISH`, the newest number, epoch, payload, whether it
/// is in the place of all before, how many numbers are kept, how long in s. Tells of a log as the owner;
/// -1 where another one owns. What is told again, by who goes on with a log, is not kept again.
pub(super) static TELL_LOG: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if last and (ARGV[6] == '1' or last[2][2] ~= ARGV[4]) then
  redis.call('DEL', KEYS[2])
  last = nil
end
local seq = tonumber(ARGV[3])
local n = 0
if last then
  local s, k = string.match(last[1], '^(%d+)-(%d+)$')
  if tonumber(s) > seq then n = -1 elseif tonumber(s) == seq then n = tonumber(k) + 1 end
end
if n >= 0 then
  redis.call('XADD', KEYS[2], ARGV[3] .. '-' .. n, 'e', ARGV[4], 'p', ARGV[5])
  if seq > tonumber(ARGV[7]) then
    redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', seq - tonumber(ARGV[7])))
  end
end
redis.call('EXPIRE', KEYS[2], ARGV[8])
redis.call(ARGV[2], KEYS[2], ARGV[1] .. ' 0 ' .. ARGV[5])
return 1
",
    )
});

/// KEYS: owner, feed. ARGV: token, channel, `PUBLISH` or `SPUBLISH`, what, payload, how long it is
/// kept in s. Writes as the owner. `what`: `key` begins the feed anew with this, `more` adds to it,
/// `now` is told and not kept. Gives the number of it, 0 for `now`, or -1 where another one owns.
pub(super) static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
if ARGV[4] == 'now' then
  redis.call(ARGV[3], ARGV[2], ARGV[1] .. ' 0 ' .. ARGV[5])
  return 0
end
local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 2000, n .. '-1', 't', ARGV[1], 'p', ARGV[5])
if ARGV[4] == 'key' then
  redis.call('XTRIM', KEYS[2], 'MINID', n .. '-1')
  redis.call('EXPIRE', KEYS[1], ARGV[6])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
redis.call(ARGV[3], ARGV[2], ARGV[1] .. ' ' .. n .. ' ' .. ARGV[5])
return n
",
    )
});
