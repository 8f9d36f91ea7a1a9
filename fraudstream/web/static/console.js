// Starts the console: which view is shown, whether it is connected, paused, asked for a key.

import { Stream, key } from "./connection.js";
import { byId } from "./dom.js";
import { clock } from "./format.js";
import { showConnection, showFigures, showRows, startLive } from "./live.js";
import { leavePage, redrawPage, showSearch, showTransaction, showUser } from "./pages.js";

const THEMES = ["system", "light", "dark"];
const STATES = { connecting: "Connecting", live: "Live", lost: "Disconnected", denied: "Key needed" };

let isPaused = false;
let connection = "connecting";
let lastEvent = null;
let lastFigures = null;
let missed = 0;
let held = [];
let next = null;

const announce = (text) => { byId("announce").textContent = text; };

// Views

function route() {
  const [, view, id] = location.hash.match(/^#\/(transactions|users|search)\/(.+)$/) || [];
  byId("live").hidden = Boolean(view);
  byId("page").hidden = !view;
  window.scrollTo(0, 0);
  if (!view) {
    leavePage();
    document.title = "fraudstream console";
    if (lastFigures) showFigures(lastFigures);
    return;
  }
  let name;
  try { name = decodeURIComponent(id); } catch { name = id; }
  ({ transactions: showTransaction, users: showUser, search: showSearch })[view](name);
}

// The stream

function take(name, data) {
  lastEvent = new Date();
  if (isPaused) {
    if (name !== "missed") held = [...held.filter((each) => each.name !== "figures" || name !== "figures"), { name, data }].slice(-200);
    return;
  }
  if (name === "figures") figures(data);
  else if (name === "rows") showRows(data);
  else if (name === "missed") missed = data.events;
}

function figures(data) {
  lastFigures = data;
  if (!byId("live").hidden) showFigures(data);
  const problems = [...data.health.problems];
  if (data.health.model_problem) problems.push(`the promoted model is not in use: ${data.health.model_problem}`);
  if (missed) problems.push(`this connection is slow: ${missed} updates were left out`);
  byId("health").hidden = problems.length === 0;
  byId("health-text").textContent = problems.length ? `${data.health.ready ? "Ready, but" : "Not ready:"} ${problems.join("; ")}` : "";
}

function tellState() {
  const shown = isPaused && connection === "live" ? "paused" : connection;
  byId("state").dataset.state = shown;
  byId("state-text").textContent = shown === "paused" ? "Paused" : STATES[connection];
}

function state(name, details) {
  const before = connection;
  // While it tries again the page goes on saying that it is disconnected.
  if (name === "connecting" && (before === "lost" || before === "denied")) return;
  connection = name;
  next = details.next || null;
  tellState();
  showConnection(name);
  byId("forget").hidden = !key.get();
  if (name === "lost") {
    if (before !== "lost") announce("Disconnected from the worker. Trying again.");
    byId("connection").dataset.reason = details.reason;
  } else if (name === "live" && before !== "connecting") {
    announce("Connected again.");
    missed = 0;
    if (byId("live").hidden) route();
  } else if (name === "denied") {
    askForKey();
  }
  tellConnection();
}

function tellConnection() {
  const box = byId("connection");
  box.hidden = connection !== "lost" && connection !== "denied";
  if (box.hidden) return;
  const since = lastEvent ? ` What you see is from ${clock(lastEvent)}.` : "";
  if (connection === "denied") {
    byId("connection-text").textContent = "This worker asks for a key before it shows data.";
    byId("retry").textContent = "Enter a key";
    return;
  }
  const seconds = next ? Math.max(0, Math.ceil((next - Date.now()) / 1000)) : 0;
  byId("connection-text").textContent = `Disconnected. ${box.dataset.reason}${since} ${seconds ? `Next try in ${seconds} s.` : "Trying now."}`;
  byId("retry").textContent = "Try now";
}

// The key

function askForKey() {
  const dialog = byId("key-dialog");
  byId("key-error").textContent = key.get() ? "This key is not known to the worker." : "";
  key.forget();
  byId("forget").hidden = true;
  if (!dialog.open) dialog.showModal();
  byId("key").select();
}

function startKey(stream) {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key.set(byId("key").value.trim());
    byId("key").value = "";
    byId("key-dialog").close();
    stream.retry();
  });
  byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
  byId("forget").addEventListener("click", () => { key.forget(); location.reload(); });
  byId("retry").addEventListener("click", () => (connection === "denied" ? askForKey() : stream.retry()));
}

// Tools

function startTools() {
  byId("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    byId("pause").setAttribute("aria-pressed", String(isPaused));
    byId("pause").textContent = isPaused ? "Resume" : "Pause";
    tellState();
    announce(isPaused ? "Paused. The worker goes on judging." : "Resumed.");
    if (!isPaused) for (const each of held.splice(0)) take(each.name, each.data);
  });
  const stored = localStorage.getItem("fraudstream-theme");
  setTheme(THEMES.includes(stored) ? stored : "system");
  byId("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]));
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("query").value.trim();
    if (text) location.hash = `#/search/${encodeURIComponent(text)}`;
  });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme-text").textContent = `Theme: ${theme}`;
  localStorage.setItem("fraudstream-theme", theme);
}

startTools();
startLive();
const stream = new Stream("console/events", { event: take, state });
startKey(stream);
window.addEventListener("hashchange", route);
let resized;
window.addEventListener("resize", () => {
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(() => { redrawPage(); if (lastFigures && !byId("live").hidden) showFigures(lastFigures); });
});
setInterval(tellConnection, 1000);
route();
stream.run();
