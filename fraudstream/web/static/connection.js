// Talks to the worker: asks with the key where there is one, keeps the stream of events open, comes back when it breaks.

const KEY = "fraudstream-key";
const SILENT_MS = 6000; // figures come every second, so a stream that is silent for longer is dead
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function ask(path, options = {}) {
  const headers = key.get() ? { "X-API-Key": key.get() } : {};
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Refused(response.status, said.detail || response.statusText || `status ${response.status}`);
}

export async function get(path, signal) {
  return (await ask(path, { signal })).json();
}

// One text/event-stream as parsed events.
async function* eventsOf(response, alive) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s, 2)));
      text = text.slice(end + 2);
      if (fields.data) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

// Keeps the stream open for as long as the page lives. `on` is told of events and of states:
// connecting, live, lost (with the moment of the next try), denied, full.
export class Stream {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.waitMs = FIRST_WAIT_MS;
    this.wake = () => {};
  }

  async run() {
    for (;;) {
      const reason = await this.once();
      if (reason === "denied") {
        this.on.state("denied", {});
        await new Promise((resolve) => (this.wake = resolve));
        this.waitMs = FIRST_WAIT_MS;
        continue;
      }
      const wait = this.waitMs * (0.8 + 0.4 * Math.random()); // not all pages at once after a restart
      this.waitMs = Math.min(this.waitMs * 2, LONGEST_WAIT_MS);
      this.on.state("lost", { next: new Date(Date.now() + wait), reason });
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait);
        this.wake = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  // Tries again now: the key changed, or somebody asked for it.
  retry() {
    this.waitMs = FIRST_WAIT_MS;
    this.wake();
  }

  async once() {
    const abort = new AbortController();
    this.stop = () => abort.abort();
    let timer = setTimeout(() => abort.abort(), SILENT_MS);
    const alive = () => { clearTimeout(timer); timer = setTimeout(() => abort.abort(), SILENT_MS); };
    this.on.state("connecting", {});
    try {
      const response = await ask(this.path, { signal: abort.signal });
      this.on.state("live", {});
      for await (const event of eventsOf(response, alive)) {
        this.waitMs = FIRST_WAIT_MS;
        this.on.event(event.name, event.data);
      }
      return "The worker closed the connection.";
    } catch (error) {
      if (error instanceof Refused) return error.status === 401 ? "denied" : `The worker said: ${error.message}.`;
      return "The worker does not answer.";
    } finally {
      clearTimeout(timer);
    }
  }
}
