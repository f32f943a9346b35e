// What a store does inside Redis, in Lua: a script runs alone, so no replica comes between.
//
// Keys, all behind "anser:1:" (docs/formats.md describes them):
//   state:ID     hash: record, content, name, parent, pinned ("1" or ""), used
//   content:ID   the compressed state file
//   sharers:ID   set of the states that have this content
//   pins:ID      set of those among them that have a name or a tag
//   names        hash: name -> state
//   order        sorted set of all states by the number that they were given when they came
//   children:ID  the same of the states whose parent this is
//   numbers      the last number given
//
// A state is there while its content is: Redis may evict contents, or let them expire. Whoever
// comes upon such a state forgets it.
//
// Where memory is short, Redis refuses what needs more of it only until a script has written
// something. So each one that adds writes its largest piece first, and is done whole or not at all.
#pragma once

namespace anser::redis_scripts {

// Stands in front of every script. ARGV[1]: seconds that a content without a pin lives on after its
// last use; 0: for ever.
inline constexpr const char* kCommon = R"lua(
local prefix = 'anser:1:'
local lifetime = tonumber(ARGV[1])
local function key(kind, id) return prefix .. kind .. ':' .. id end

-- What is pinned stays; what is not may expire, and be evicted by Redis's volatile policies.
local function settle(content)
  if lifetime == 0 or redis.call('SCARD', key('pins', content)) > 0 then
    redis.call('PERSIST', key('content', content))
  else
    redis.call('EXPIRE', key('content', content), lifetime)
  end
end

local function unlist(id, parent)
  redis.call('ZREM', prefix .. 'order', id)
  if parent and parent ~= '' then redis.call('ZREM', key('children', parent), id) end
end

-- Returns the id of its content if that goes with it, or else ''.
local function forget(id)
  local state = redis.call('HMGET', key('state', id), 'content', 'name', 'parent')
  local content, name, parent = state[1], state[2], state[3]
  redis.call('DEL', key('state', id))
  unlist(id, parent)
  if name and name ~= '' and redis.call('HGET', prefix .. 'names', name) == id then
    redis.call('HDEL', prefix .. 'names', name)
  end
  if not content then return '' end
  redis.call('SREM', key('sharers', content), id)
  redis.call('SREM', key('pins', content), id)
  if redis.call('SCARD', key('sharers', content)) == 0 then
    redis.call('DEL', key('content', content))
    return content
  end
  settle(content)
  return ''
end

-- The id of a state's content, or false. What has lost its content is forgotten.
local function alive(id)
  local content = redis.call('HGET', key('state', id), 'content')
  if not content then return false end
  if redis.call('EXISTS', key('content', content)) == 1 then return content end
  for _, sharer in ipairs(redis.call('SMEMBERS', key('sharers', content))) do forget(sharer) end
  forget(id)
  return false
end

-- The state that has a name, unless that is `id`.
local function holder(name, id)
  if name == '' then return false end
  local other = redis.call('HGET', prefix .. 'names', name)
  if not other or other == id or not alive(other) then return false end
  return other
end

local function pin(id, content, pinned)
  if pinned == '1' then
    redis.call('SADD', key('pins', content), id)
  else
    redis.call('SREM', key('pins', content), id)
  end
  settle(content)
end
)lua";

// ARGV: lifetime, id, content, name, parent, pinned, record, source ('', or the state whose content
// it shares). Adds a state to a content that is there.
// Returns {'ok'}, {'taken', holder}, {'unknown'} (the source) or {'lost'} (the content).
inline constexpr const char* kAdd = R"lua(
local id, content, name, parent = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local pinned, record, source = ARGV[6], ARGV[7], ARGV[8]
if source ~= '' and not alive(source) then return {'unknown'} end
if redis.call('EXISTS', key('content', content)) == 0 then return {'lost'} end
local other = holder(name, id)
if other then return {'taken', other} end
redis.call('HSET', key('state', id), 'record', record, 'content', content, 'name', name,
           'parent', parent, 'used', '')
if name ~= '' then redis.call('HSET', prefix .. 'names', name, id) end
local number = redis.call('INCR', prefix .. 'numbers')
redis.call('ZADD', prefix .. 'order', number, id)
if parent ~= '' then redis.call('ZADD', key('children', parent), number, id) end
redis.call('SADD', key('sharers', content), id)
pin(id, content, pinned)
-- One in, two looked at: of states whose content has gone there are never many more than others.
for _, some in ipairs(redis.call('ZRANDMEMBER', prefix .. 'order', 2)) do
  if not alive(some) then unlist(some) end
end
return {'ok'}
)lua";

// ARGV: lifetime, id or '', name, now or '' (then it is no use, only a look). Returns {record,
// used}, or nothing.
inline constexpr const char* kFind = R"lua(
local id, name, now = ARGV[2], ARGV[3], ARGV[4]
if id == '' then id = redis.call('HGET', prefix .. 'names', name) end
if not id then return {} end
local content = alive(id)
if not content then return {} end
if now ~= '' then
  settle(content)
  redis.call('HSET', key('state', id), 'used', now)
end
return redis.call('HMGET', key('state', id), 'record', 'used')
)lua";

// ARGV: lifetime, parent or '', the number behind which to begin, how many, and 'newest' to go
// backwards. Returns {the last number looked at, id, record, used, number, id, ...}; only '': there
// are no more.
inline constexpr const char* kList = R"lua(
local set = prefix .. 'order'
if ARGV[2] ~= '' then set = key('children', ARGV[2]) end
local page
if ARGV[5] == 'newest' then
  page = redis.call('ZREVRANGEBYSCORE', set, '(' .. ARGV[3], '-inf', 'WITHSCORES', 'LIMIT', 0,
                    ARGV[4])
else
  page = redis.call('ZRANGEBYSCORE', set, '(' .. ARGV[3], '+inf', 'WITHSCORES', 'LIMIT', 0,
                    ARGV[4])
end
local found = {page[#page] or ''}
for i = 1, #page, 2 do
  if alive(page[i]) then
    local state = redis.call('HMGET', key('state', page[i]), 'record', 'used')
    found[#found + 1] = page[i]
    found[#found + 1] = state[1] or ''
    found[#found + 1] = state[2] or ''
    found[#found + 1] = page[i + 1]
  else
    redis.call('ZREM', set, page[i])
  end
end
return found
)lua";

// ARGV: lifetime, id, the record as it was, the new one, name, pinned. Returns {'ok'}, {'taken',
// holder}, {'unknown'}, or {'changed'}: the record is another one by now.
inline constexpr const char* kRelabel = R"lua(
local id, before, record, name, pinned = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local content = alive(id)
if not content then return {'unknown'} end
local state = redis.call('HMGET', key('state', id), 'record', 'name')
if state[1] ~= before then return {'changed'} end
local other = holder(name, id)
if other then return {'taken', other} end
redis.call('HSET', key('state', id), 'record', record, 'name', name)
if state[2] and state[2] ~= '' and state[2] ~= name then
  redis.call('HDEL', prefix .. 'names', state[2])
end
if name ~= '' then redis.call('HSET', prefix .. 'names', name, id) end
pin(id, content, pinned)
return {'ok'}
)lua";

// ARGV: lifetime, id. Returns {'ok', the id of the content that went with it, or ''} or
// {'unknown'}.
inline constexpr const char* kRemove = R"lua(
if not alive(ARGV[2]) then return {'unknown'} end
return {'ok', forget(ARGV[2])}
)lua";

}  // namespace anser::redis_scripts
