-- Posts varied transactions to /predict: lines of the file that BODIES names, each time with a new transaction_id.
local bodies, sent, thread_number = {}, 0, 0

function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end

function init(_)
  for line in io.lines(os.getenv("BODIES")) do
    bodies[#bodies + 1] = line
  end
end

function request()
  sent = sent + 1
  local body = bodies[sent % #bodies + 1]:gsub("@ID@", "w" .. number .. "-" .. sent, 1)
  return wrk.format("POST", "/predict", { ["Content-Type"] = "application/json" }, body)
end
