-- One check of the rate limits: all policies or none, on the clock of this server. The same arithmetic as limit/gcra.rs.
--
-- KEYS: one for each policy. ARGV: cost, 1 to spend or 0 to peek, and for each policy T, b·T (both in microseconds) and the backlog
-- that the asker knows to be the least. Answers whether all have room, and the backlog before the request for each policy.
-- A key holds the theoretical arrival time and the T with which it was computed, and goes when the quota is whole again.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, spend = tonumber(ARGV[1]), ARGV[2] == '1'
local stored = redis.call('MGET', unpack(KEYS))
local before, raised, all = {}, {}, 1
for i = 1, #KEYS do
  local interval, tolerance, least = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
  local backlog, set_back = 0, false
  if stored[i] then
    local tat, under = string.match(stored[i], '^(%d+) (%d+)$')
    if tat then
      backlog = math.max(0, tonumber(tat) - now)
      if tonumber(under) ~= interval then
        backlog = math.ceil(backlog * interval / tonumber(under))
      else
        -- More than the whole quota it is after this server's clock was set back: it runs down from now on, not from then.
        set_back = backlog > tolerance
      end
    end
  end
  raised[i] = least > backlog or set_back
  backlog = math.min(math.max(backlog, least), tolerance)
  if backlog + cost * interval > tolerance then
    all = 0
  end
  before[i] = backlog
end
for i = 1, #KEYS do
  if spend and (all == 1 or raised[i]) then
    local interval = tonumber(ARGV[3 * i])
    local after = before[i] + all * cost * interval
    redis.call('SET', KEYS[i], string.format('%.0f %.0f', now + after, interval), 'PX', math.ceil(after / 1000) + 1)
  end
end
return { all, unpack(before) }
