/**
 * What Redis does by itself, each in one go (EVAL; Redis 5 or newer, Valkey; no cluster: keys are named inside). Keys, all under a prefix:
 *
 *     hosts                zset    host → when it was heard last, by the server's wall clock
 *     counts               hash    host → how many connections it has
 *     host:<host>          hash    whole: the epoch of which everything was told
 *     ports:<host>         hash    port → its tenant
 *     c:<host>:<port>      hash    connection's key → "<epoch> <sinceMs> <ends held, JSON>\n<connection, JSON>"
 *
 * The last three expire when the host is silent. What needs memory comes first in a script: Redis refuses it as a whole, or not at all. A batch of 2,000 takes some 25 ms, a slice of a walk one.
 */
const HEADER = `
  local prefix, host = ARGV[1], ARGV[2]
  local ports, record = prefix .. 'ports:' .. host, prefix .. 'host:' .. host
  local function connections(port) return prefix .. 'c:' .. host .. ':' .. port end
`;

export const SCRIPTS = {
  /**
   * ARGV: prefix, host, epoch, atMs, ttlMs, most, mark ('whole': nothing of the epoch is missing; 'missed': something is; ''), how many have
   * gone, their keys; then key, port, tenant, sinceMs, held, JSON of each that there is. Gives the epoch that is whole, or ''; and how many new
   * ones were left out, as there was no room.
   */
  write: `${HEADER}
    local epoch, atMs, ttlMs, most, mark, goneCount = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
    local first = 9 + goneCount
    local gone, isGone, isPut, news = {}, {}, {}, 0
    for n = first, #ARGV, 6 do isPut[ARGV[n]] = true end
    for n = 9, first - 1 do
      local key = ARGV[n]
      isGone[key] = true
      local hint = string.match(key, '^(%S+) ') or ''
      if isPut[key] then -- begins anew
      elseif redis.call('HEXISTS', connections(hint), key) == 1 then gone[#gone + 1] = {hint, key}
      else
        for _, port in ipairs(redis.call('HKEYS', ports)) do
          if redis.call('HEXISTS', connections(port), key) == 1 then gone[#gone + 1] = {port, key} end
        end
      end
    end
    -- What has expired is not counted any more: the ports of a host are there as long as any connection of it is.
    local stale = 0
    if redis.call('EXISTS', ports) == 0 then stale = tonumber(redis.call('HGET', prefix .. 'counts', host) or '0') end
    local old = {}
    for n = first, #ARGV, 6 do
      old[n] = redis.call('HGET', connections(ARGV[n + 1]), ARGV[n])
      if not old[n] then news = news + 1 end
    end
    local room = news
    if news > #gone then
      local all = -stale
      for _, count in ipairs(redis.call('HVALS', prefix .. 'counts')) do all = all + count end
      room = most - all + #gone
    end
    local told, added, leftOut = {}, 0, 0
    for n = first, #ARGV, 6 do
      if not old[n] and added >= room then
        leftOut = leftOut + 1
      else
        local since = ARGV[n + 3]
        if old[n] and not isGone[ARGV[n]] then
          local known, held = string.match(old[n], '^%S+ (%S+) ([^\\n]*)\\n')
          if held == ARGV[n + 4] and tonumber(known) < tonumber(since) then since = known end
        end
        local value = epoch .. ' ' .. since .. ' ' .. ARGV[n + 4] .. '\\n' .. ARGV[n + 5]
        added = added + redis.call('HSET', connections(ARGV[n + 1]), ARGV[n], value)
        if told[ARGV[n + 1]] ~= ARGV[n + 2] then redis.call('HSET', ports, ARGV[n + 1], ARGV[n + 2]) end
        told[ARGV[n + 1]] = ARGV[n + 2]
      end
    end
    for _, each in ipairs(gone) do
      added = added - redis.call('HDEL', connections(each[1]), each[2])
      if redis.call('EXISTS', connections(each[1])) == 0 then redis.call('HDEL', ports, each[1]) end
    end
    redis.call('HINCRBY', prefix .. 'counts', host, added - stale)
    redis.call('ZADD', prefix .. 'hosts', atMs, host)
    if mark == 'whole' then redis.call('HSET', record, 'whole', epoch) end
    if mark == 'missed' then redis.call('HDEL', record, 'whole') end
    for _, key in ipairs({record, ports}) do redis.call('PEXPIRE', key, ttlMs) end
    for _, port in ipairs(redis.call('HKEYS', ports)) do redis.call('PEXPIRE', connections(port), ttlMs) end
    return {redis.call('HGET', record, 'whole') or '', leftOut}
  `,
  /**
   * Ends what is of other epochs; the caller knows that no later one has begun. Former ones may be higher: a host's wall clock was set back.
   * ARGV: prefix, host, epoch, port, cursor, how many in a slice. Gives the next cursor; '0': done.
   */
  sweep: `${HEADER}
    local key = connections(ARGV[4])
    local walked = redis.call('HSCAN', key, ARGV[5], 'COUNT', ARGV[6])
    local removed = 0
    for n = 1, #walked[2], 2 do
      if string.match(walked[2][n + 1], '^%S+') ~= ARGV[3] then removed = removed + redis.call('HDEL', key, walked[2][n]) end
    end
    if removed > 0 then redis.call('HINCRBY', prefix .. 'counts', host, -removed) end
    if redis.call('EXISTS', key) == 0 then redis.call('HDEL', ports, ARGV[4]) end
    return walked[1]
  `,
  /** Of a port's connections those that have every needle in them. ARGV: prefix, host, port, cursor, slice, needles. Gives cursor, values. */
  pick: `${HEADER}
    local walked = redis.call('HSCAN', connections(ARGV[3]), ARGV[4], 'COUNT', ARGV[5])
    local found = {walked[1]}
    for n = 2, #walked[2], 2 do
      local fits = true
      for needle = 6, #ARGV do
        if not string.find(walked[2][n], ARGV[needle], 1, true) then fits = false end
      end
      if fits then found[#found + 1] = walked[2][n] end
    end
    return found
  `,
  /** Forgets a host that is silent. ARGV: prefix, host. */
  drop: `${HEADER}
    for _, port in ipairs(redis.call('HKEYS', ports)) do redis.call('UNLINK', connections(port)) end
    redis.call('UNLINK', ports, record)
    redis.call('HDEL', prefix .. 'counts', host)
    return redis.call('ZREM', prefix .. 'hosts', host)
  `,
} as const;

export type ScriptName = keyof typeof SCRIPTS;
