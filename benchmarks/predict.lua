-- What wrk asks POST /predict: a transaction of its own each time, of 5,000 users. RATE=300 in the environment spreads
-- the requests of CONNECTIONS connections (16) over the time; without it each comes as soon as the one before is answered.
--   wrk -t1 -c16 -d20s --latency -s benchmarks/predict.lua http://127.0.0.1:8000
local rate = tonumber(os.getenv("RATE") or "0")
local connections = tonumber(os.getenv("CONNECTIONS") or "16")
local run = os.time()
local asked = 0

function request()
  asked = asked + 1
  local body = string.format(
    '{"transaction_id":"wrk-%d-%d","user_id":"user_%d","amount":%d.67,"merchant":"Shop %d","category":"food",'
      .. '"location":"New York","device_id":"device_%d"}',
    run, asked, asked % 5000, asked % 200, asked % 97, asked % 5000)
  return wrk.format("POST", "/predict", { ["Content-Type"] = "application/json" }, body)
end

if rate > 0 then
  local apart_ms = 1000 * connections / rate
  function delay()
    return math.floor(apart_ms * (0.5 + math.random()))
  end
end
