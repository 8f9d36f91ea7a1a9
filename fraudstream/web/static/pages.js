// The pages of one transaction, of one user and of a search.

import { history as historyChart, scale, sign } from "./charts.js";
import { badge, byId, facts, h, meter } from "./dom.js";
import { amount, count, label, number, plural, score, tenths, time, transactionPath, userPath } from "./format.js";
import { Refused, get } from "./connection.js";
import { rowOf } from "./live.js";

const REST = "other"; // the feature of the reason that holds what is too small to be told
const part = (value) => (value < 0.0005 ? "< 0.001" : score(value));
const MEMBERS = { forest: "Isolation forest", autoencoder: "Autoencoder", lstm: "LSTM" };
let redraw = () => {};
let asked = new AbortController();

const panel = (title, note, ...content) =>
  h("section", { class: "panel" }, h("header", { class: "panel-head" }, h("h2", {}, title), note ? h("p", { class: "note" }, note) : null), ...content);

const back = () => h("a", { class: "back", href: "#/" }, "← Live view");

// Shows a page: first that it loads, then what came, or why nothing did.
async function show(title, path, build) {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked, page = byId("page");
  redraw = () => {};
  page.setAttribute("aria-busy", "true");
  const heading = (text) => h("h1", { tabindex: "-1" }, text);
  page.replaceChildren(back(), h("div", { class: "title" }, heading(title)), h("p", { class: "lead" }, "Loading…"));
  document.title = `${title} – fraudstream`;
  page.querySelector("h1").focus();
  let found;
  try {
    found = await get(path, signal);
  } catch (error) {
    if (signal.aborted) return;
    const text = !(error instanceof Refused) ? "The worker does not answer. It is asked again when the connection is back."
      : error.status === 401 ? "This worker asks for a key before it shows data; enter one and open this page again."
      : error.status === 404 ? "Not found. The worker keeps its newest verdicts in memory; older ones are found where an evidence store is set up."
      : `The worker said: ${error.message}`;
    page.replaceChildren(back(), h("div", { class: "title" }, heading(title)), h("p", { class: "lead" }, text));
    return;
  } finally {
    if (!signal.aborted) page.removeAttribute("aria-busy");
  }
  const wasOnBack = document.activeElement?.classList.contains("back");
  const draw = build(page, found);
  page.querySelector("h1").tabIndex = -1;
  page.querySelector(wasOnBack ? ".back" : "h1").focus();
  if (draw) { redraw = draw; draw(); }
}

const notes = (found) => found.notes.map((note) => h("p", { class: "lead" }, note));

// One transaction

export const showTransaction = (id) => show(`Transaction ${id}`, `console/transactions/${encodeURIComponent(id)}`, (page, found) => {
  const { row, verdict, transaction } = found;
  const scaleBox = h("div", { class: "chart scale" }), chartBox = h("div", { class: "chart history" });
  const says = row.flagged ? `Flagged: the score is above the threshold ${score(row.threshold)}.` : `Not flagged: the score is not above the threshold ${score(row.threshold)}.`;
  page.replaceChildren(back(),
    h("div", { class: "title" }, h("h1", {}, "Transaction ", h("span", { class: "id" }, row.transaction_id)), badge(row.flagged, true)),
    h("p", { class: "lead" }, `${amount(row.amount, row.currency)} at ${row.merchant}, ${time(row.event_time)} UTC, by user `, h("a", { class: "id", href: userPath(row.user_id) }, row.user_id)),
    ...notes(found),
    h("div", { class: "page-columns" },
      h("div", { class: "stack" },
        panel("Verdict", "The score is the share of the training traffic that is less unusual",
          h("div", {}, h("div", { class: "verdict-score" }, h("p", { class: "figure" }, score(row.score)), scaleBox),
            h("p", { class: "says" }, says, verdict.degraded.length ? ` Without ${verdict.degraded.join(", ")}, which failed.` : ""),
            h("ul", { class: "members" }, Object.entries(MEMBERS).map(([name, title]) => member(title, verdict.members[name]))))),
        panel("Reasons", row.flagged ? "Each bar is a part of the score" : null, reasons(verdict, row.currency)),
        panel("The user’s last 30 days", pastNote(found.history), h("div", {}, chartBox, legend(found.history, row), ...pastExtras(found.history, row)))),
      h("div", { class: "stack" },
        panel("Transaction", null, h("dl", { class: "facts" }, facts([
          ["Amount", amount(row.amount, row.currency)], ["Merchant", row.merchant], ["Category", row.category],
          ["Location", transaction.location], ["Device", transaction.device_id],
          ["Place", typeof transaction.latitude === "number" ? `${transaction.latitude.toFixed(2)}°, ${transaction.longitude.toFixed(2)}°` : null],
          ["Event time", `${time(row.event_time)} UTC`], ["At the broker", `${time(verdict.timestamp)} UTC`],
          ["Late", verdict.late ? "yes: later than the allowed lateness" : null],
          ["Duplicate", verdict.duplicate ? "yes: this ID was seen before, nothing was counted twice" : null]]))),
        panel("How it was judged", null, h("dl", { class: "facts" }, facts([
          ["Kind", label(row.kind)], ["Confidence", score(verdict.confidence)], ["Model", verdict.model_version],
          ["Partition", String(verdict.source_partition)], ["Offset", count(verdict.source_offset)],
          ["Chain hash", found.chain ? h("code", {}, found.chain.row_hash.slice(0, 16) + "…") : null]]))),
        panel("As sent", null, h("div", {}, raw("Verdict, JSON", verdict), raw("Transaction, JSON", transaction))))));
  return () => { scale(scaleBox, row.score, row.threshold, row.flagged); historyChart(chartBox, found.history, row.transaction_id, row.currency); };
});

const member = (title, rank) =>
  h("li", {}, h("span", {}, title), h("span", {}, rank === null ? "failed" : score(rank)), meter(rank || 0));

const raw = (title, value) => h("details", {}, h("summary", {}, title), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, h("pre", {}, JSON.stringify(value, null, 2))));

function reasons(verdict, currency) {
  if (!verdict.reasons.length) return h("p", {}, `${verdict.explanation}.`);
  const sum = verdict.reasons.reduce((total, reason) => total + reason.contribution, 0);
  return h("div", {}, h("ul", {}, verdict.reasons.map((reason) => h("li", { class: "reason" },
    h("p", { class: "text" }, reason.text), h("span", { class: "amount" }, part(reason.contribution)),
    meter(reason.contribution / Math.max(sum, verdict.anomaly_score), reason.feature !== REST), h("span", {}),
    h("p", { class: "note" }, measured(reason, currency))))),
    h("p", { class: "sum" }, h("span", {}, "Sum of the reasons"), h("strong", {}, score(sum))));
}

// What a reason is about, as it was measured, and what is usual in the same unit.
function measured(reason, currency) {
  if (reason.feature === REST) return `${label(reason.code)}: each too small to be told alone`;
  const [, money, share] = reason.unit.match(/^(?:currency\b(.*)|share( of .*))$/) || []; // such as "currency a payment in 7 d"
  const say = (value) => (money !== undefined ? amount(value, currency) + money
    : share ? tenths(value) + share
    : reason.unit === "0 or 1" ? (value ? "yes" : "no")
    : `${number(value)} ${reason.unit}`);
  const usual = reason.usual === null ? "" : `; usual for this user: ${say(reason.usual)}`;
  return [`${label(reason.code)} · `, h("code", {}, reason.feature), ` · ${say(reason.value)}${usual}`];
}

// The past

const pastNote = (past) => `${plural(past.points.length, "transaction", "transactions")} up to ${time(past.until)} UTC`;

function legend(past, row) {
  const items = [["normal", "transaction"]];
  if (past.points.some((point) => point.flagged && point.transaction_id !== row?.transaction_id)) items.push(["alert", "alert"]);
  if (row) items.push(["this", "this transaction"]);
  return h("ul", { class: "legend" }, items.map(([kind, text]) => h("li", {}, sign(kind), text)),
    past.median_amount === null ? null : h("li", {}, sign("median"), `median ${row ? "of the others " : ""}${amount(past.median_amount)}`));
}

function pastExtras(past, row) {
  const extras = [];
  if (past.complete_since) extras.push(h("p", { class: "note" }, `The profile keeps a user’s newest ${count(past.kept_at_most)} transactions; those up to ${time(past.complete_since)} UTC are not drawn.`));
  if (past.profile_age_s > 0) extras.push(h("p", { class: "note" }, `Profile as of ${number(past.profile_age_s)} s ago.`));
  const line = (point) => h("tr", { class: point.flagged ? "flagged" : null },
    h("td", {}, time(point.event_time)), h("td", { class: "number" }, amount(point.amount)),
    h("td", {}, point.merchant || ""), h("td", {}, point.flagged === null ? "" : badge(point.flagged)),
    h("td", {}, point.transaction_id === null ? "" : point.transaction_id === row?.transaction_id ? "this transaction"
      : h("a", { class: "id", href: transactionPath(point.transaction_id) }, point.transaction_id)));
  extras.push(h("details", {}, h("summary", {}, "The same as a table"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Transactions of the last 30 days" },
      h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Event time (UTC)"), h("th", { scope: "col", class: "number" }, "Amount"),
        h("th", { scope: "col" }, "Merchant"), h("th", { scope: "col" }, "Verdict"), h("th", { scope: "col" }, "Transaction"))),
      h("tbody", {}, [...past.points].reverse().map(line))))));
  return extras;
}

// One user

const table = (rows, title) => h("div", { class: "scroll list", tabindex: "0", role: "region", "aria-label": title },
  h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Verdict"), h("th", { scope: "col", class: "wide" }, "Event time (UTC)"),
    h("th", { scope: "col" }, "Transaction"), h("th", { scope: "col", class: "middle" }, "User"), h("th", { scope: "col", class: "wide" }, "Merchant"),
    h("th", { scope: "col", class: "number" }, "Amount"), h("th", { scope: "col", class: "number" }, "Score"), h("th", { scope: "col", class: "wide why" }, "Leading reason"))),
  h("tbody", {}, rows.map(rowOf))));

export const showUser = (id) => show(`User ${id}`, `console/users/${encodeURIComponent(id)}`, (page, found) => {
  const past = found.history, chartBox = h("div", { class: "chart history" });
  const currency = found.rows[0]?.currency;
  page.replaceChildren(back(),
    h("div", { class: "title" }, h("h1", {}, "User ", h("span", { class: "id" }, id))),
    h("p", { class: "lead" }, past.known_since
      ? `${plural(past.transactions, "transaction", "transactions")} since ${time(past.known_since)} UTC, ${amount(past.mean_amount)} on average`
      : "This worker has no profile of this user."),
    ...notes(found),
    h("div", { class: "stack" },
      panel("Last 30 days", pastNote(past), h("div", {}, chartBox, legend(past, null), ...pastExtras(past, null))),
      panel("Verdicts", found.rows.length ? `The newest ${count(found.rows.length)} that are kept` : "None is kept", found.rows.length ? table(found.rows, "Verdicts on this user") : null)));
  return () => historyChart(chartBox, past, null, currency);
});

// A search

export const showSearch = (text) => show(`Search: ${text}`, `console/search?q=${encodeURIComponent(text)}`, (page, found) => {
  const exact = found.transactions.find((row) => row.transaction_id === text);
  if (exact && !found.users.includes(text)) return location.replace(transactionPath(text));
  if (found.users.includes(text) && !found.transactions.length) return location.replace(userPath(text));
  const looked = `Looked through the newest ${plural(found.recent_verdicts, "verdict", "verdicts")}${found.has_store ? ", the profiles and the evidence store" : " and the profiles"}`;
  page.replaceChildren(back(), h("div", { class: "title" }, h("h1", {}, `Search: ${text}`)),
    h("p", { class: "lead" }, found.users.length || found.transactions.length ? `${looked}.` : `Nothing found. ${looked}; IDs are matched from their beginning, and upper case is not lower case.`),
    ...notes(found),
    h("div", { class: "stack" },
      found.users.length ? panel("Users", plural(found.users.length, "user", "users"), h("ul", { class: "legend" }, found.users.map((id) => h("li", {}, h("a", { class: "id", href: userPath(id) }, id))))) : null,
      found.transactions.length ? panel("Transactions", plural(found.transactions.length, "transaction", "transactions"), table(found.transactions, "Transactions found")) : null));
  return undefined;
});

export const leavePage = () => { asked.abort(); redraw = () => {}; byId("page").replaceChildren(); };
export const redrawPage = () => redraw();
