// The live view: the worker's figures and the verdicts that come in, some of many, and it says how many.

import { bullet, scoreHistogram, spark } from "./charts.js";
import { badge, byId, facts, h, meter, pairs } from "./dom.js";
import { amount, compact, count, duration, label, partOf, percent, plural, score, tenths, time, transactionPath, userPath } from "./format.js";

const TOLD_REASONS = 8;
const KEPT_ROWS = 120;
const SHARE_OF_TICKS = 20; // ten seconds: long enough for a share that does not flicker

const EMPTY = {
  connecting: "Connecting to the worker…",
  lost: "Not connected. Verdicts appear here as soon as the worker answers.",
  denied: "Verdicts appear here once a key is entered.",
  live: "No transaction has been judged yet. Verdicts appear here as they are made.",
};

let connection = "connecting";
const kept = { all: [], alerts: [] };
const ticks = [];
let shown = "all";
let waiting = 0;
let isFirst = true;

const set = (id, text) => { byId(id).textContent = text; };

export function rowOf(row) {
  return h("tr", { class: row.flagged ? "flagged" : null, "data-id": row.transaction_id },
    h("td", {}, badge(row.flagged)),
    h("td", { class: "wide" }, time(row.event_time)),
    h("th", { scope: "row", class: "transaction" }, h("a", { class: "id", href: transactionPath(row.transaction_id) }, row.transaction_id),
      row.flagged ? h("span", { class: "note narrow" }, label(row.kind)) : null),
    h("td", { class: "middle" }, h("a", { class: "id", href: userPath(row.user_id) }, row.user_id)),
    h("td", { class: "wide clip", title: row.merchant }, row.merchant),
    h("td", { class: "number" }, amount(row.amount, row.currency)),
    h("td", { class: "number" }, h("span", { class: "score" }, score(row.score), meter(row.score))),
    h("td", { class: "wide why", title: row.flagged ? row.explanation : null }, row.flagged ? label(row.kind) : ""));
}

// Figures

export function showFigures(figures) {
  const rate = figures.window_verdicts ? figures.window_alerts / figures.window_verdicts : null;
  set("throughput", count(figures.throughput));
  spark(byId("throughput-chart"), figures.verdicts_by_second, figures.alerts_by_second);
  showTimes("waited", figures.waited_ms);
  showTimes("took", figures.took_ms);
  set("alert-rate", rate === null ? "–" : tenths(rate));
  bullet(byId("alert-chart"), rate || 0, figures.contamination);
  const by = figures.contamination_by === "category" ? " by category" : "";
  set("alert-note", `Mark: contamination${by}, ${percent(figures.contamination)}`);
  showWorker(figures);
  const byCategory = figures.contamination_by === "category";
  scoreHistogram(byId("scores-chart"), figures.scores, byCategory ? null : 1 - figures.contamination);
  set("scores-note", `${plural(figures.window_verdicts, "verdict", "verdicts")}, last 60\u00a0s` + (byCategory ? "; each category has its own threshold" : ""));
  showReasons(figures);
}

function showTimes(id, times) {
  set(`${id}-p99`, times ? duration(times.p99) : "–");
  byId(id).replaceChildren(...pairs([["p50", duration(times?.p50)], ["p95", duration(times?.p95)]]));
}

function showWorker(figures) {
  const { health, total } = figures;
  set("lag", compact(health.lag));
  byId("partitions").replaceChildren(...pairs([["Partitions here", count(health.partitions.length)]]));
  set("total-verdicts", compact(total.verdicts));
  byId("totals").replaceChildren(...pairs([["Alerts", compact(total.alerts)]]));
  set("letters", plural(total.dead_letters, "dead letter", "dead letters"));
  byId("worker").replaceChildren(...facts([
    ["Model", health.model_version],
    ["Model problem", health.model_problem],
    ["Ready", health.ready ? "yes" : "no"],
    ["Partitions", health.partitions.length ? health.partitions.join(", ") : "none"],
    ["Profiles restored", count(health.restored)],
    ["fraudstream", health.version],
  ]));
}

function showReasons(figures) {
  byId("reasons-empty").hidden = figures.reasons.length > 0;
  set("reasons-note", figures.reasons_of ? `Last ${plural(figures.reasons_of, "alert", "alerts")}` : "");
  const most = Math.max(...figures.reasons.map(([, times]) => times), 1);
  const told = figures.reasons.slice(0, TOLD_REASONS), rest = figures.reasons.slice(TOLD_REASONS);
  const bars = told.map(([code, times]) => [label(code), times]);
  if (rest.length) bars.push([`${rest.length} more`, rest.reduce((sum, [, times]) => sum + times, 0)]);
  byId("reasons").replaceChildren(...bars.map(([text, times]) =>
    h("li", {}, h("span", {}, text), h("span", {}, tenths(times / figures.reasons_of)), meter(times / most))));
}

// Verdicts

// While somebody points at the list or is in it with the keyboard, it stands still: a moving link cannot be followed.
// A finger leaves its hover behind, so that counts only for what can point without touching.
const points = matchMedia("(hover: hover)");
const isHeld = () => (points.matches && byId("verdict-rows").matches(":hover")) || byId("verdict-rows").contains(document.activeElement);

export function showRows(sample) {
  const alertRows = sample.rows.filter((row) => row.flagged).length;
  ticks.push({
    alerts: sample.alerts, others: sample.others,
    // The first sample of a connection holds older ones, which are no part of what came since.
    alertsShown: Math.min(alertRows, sample.alerts), othersShown: Math.min(sample.rows.length - alertRows, sample.others),
  });
  if (ticks.length > SHARE_OF_TICKS) ticks.shift();
  keep("all", sample.rows);
  keep("alerts", sample.rows.filter((row) => row.flagged));
  if (shown === "all" || sample.rows.some((row) => row.flagged)) waiting += sample.rows.length;
  if (!isHeld()) drawRows();
  tellSampling();
}

function keep(name, rows) {
  const ids = new Set(rows.map((row) => row.transaction_id));
  kept[name] = [...rows, ...kept[name].filter((row) => !ids.has(row.transaction_id))].slice(0, KEPT_ROWS);
}

function drawRows() {
  waiting = 0;
  const body = byId("verdict-rows"), drawn = new Map([...body.children].map((row) => [row.dataset.id, row]));
  body.replaceChildren(...kept[shown].map((row) => {
    const old = drawn.get(row.transaction_id);
    if (old) { old.classList.remove("fresh"); return old; }
    const made = rowOf(row);
    if (!isFirst) made.classList.add("fresh");
    return made;
  }));
  isFirst = isFirst && kept[shown].length === 0;
  const empty = byId("verdicts-empty");
  empty.hidden = kept[shown].length > 0;
  empty.textContent = shown === "alerts" && connection === "live" ? "No alert yet." : EMPTY[connection];
}

function tellSampling() {
  const sum = (name) => ticks.reduce((total, tick) => total + tick[name], 0);
  if (sum("alerts") + (shown === "all" ? sum("others") : 0) === 0) return tellNoneCame();
  const alerts = partOf(sum("alertsShown"), sum("alerts")), others = partOf(sum("othersShown"), sum("others"));
  const parts = [`Showing ${alerts || "every"} alert${alerts ? "s" : ""}`];
  if (shown === "all") parts.push(`${others || "every"} other${others ? "s" : ""}`);
  if (shown === "all" && !alerts && !others) parts.splice(0, 2, "Showing every verdict");
  if (isHeld() && waiting) parts.push("standing still while you are in the list");
  byId("sampling").textContent = parts.join(", ");
}

function tellNoneCame() {
  const since = ticks.length < SHARE_OF_TICKS ? "so far" : "so far, none in the last 10\u00a0s";
  byId("sampling").textContent = kept[shown].length ? `The newest ${since}` : "";
}

export function showConnection(name) {
  connection = name;
  if (!isHeld()) drawRows();
}

export function startLive() {
  for (const button of document.querySelectorAll("[data-shown]")) {
    button.addEventListener("click", () => {
      shown = button.dataset.shown;
      for (const each of document.querySelectorAll("[data-shown]")) each.setAttribute("aria-pressed", String(each === button));
      isFirst = true;
      drawRows();
      tellSampling();
    });
  }
  byId("verdict-rows").addEventListener("mouseleave", drawRows);
  byId("verdict-rows").addEventListener("focusout", () => requestAnimationFrame(() => { if (!isHeld()) drawRows(); }));
}
