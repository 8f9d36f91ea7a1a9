// Small charts in SVG, drawn at the size they have; each says in words what it shows.

import { s } from "./dom.js";
import { amount, count, date, percent, score } from "./format.js";

const size = (box, height) => [Math.max(box.clientWidth, 120), height || box.clientHeight || 120];

function draw(box, width, height, title, ...content) {
  box.replaceChildren(s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title }, ...content));
}

export function spark(box, verdicts, alerts) {
  const [width, height] = size(box, 32);
  const most = Math.max(...verdicts, 1), step = width / verdicts.length;
  const bars = (values, cls) => values.map((value, at) =>
    value ? s("rect", { class: cls, x: at * step, width: Math.max(step - 1, 1), y: height - (value / most) * height, height: (value / most) * height }) : null);
  const title = `Verdicts in each of the last ${verdicts.length} seconds: at most ${count(most)} a second, of them alerts up to ${count(Math.max(...alerts))}`;
  draw(box, width, height, title, s("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }), bars(verdicts, "bar-plain"), bars(alerts, "bar-alert"));
}

// The alert rate as a bar, what was expected as a mark on the same scale.
export function bullet(box, rate, expected) {
  const [width, height] = size(box, 32);
  const end = Math.max(rate, expected) * 1.6 || 1, x = (value) => (value / end) * width;
  draw(box, width, height, `Alert rate ${percent(rate)}, contamination ${percent(expected)}`,
    s("rect", { class: "track", x: 0, y: 12, width, height: 10, rx: 2 }),
    s("rect", { class: "bar-alert", x: 0, y: 12, width: x(rate), height: 10, rx: 2 }),
    s("line", { class: "tick", x1: x(expected), x2: x(expected), y1: 6, y2: 28 }));
}

export function scoreHistogram(box, counts, threshold) {
  const [width, height] = size(box), bottom = 18, top = 18;
  const most = Math.max(...counts, 1), step = width / counts.length, tall = height - bottom - top;
  const at = threshold * width;
  const bars = counts.map((value, index) => s("rect", {
    class: threshold !== null && (index + 0.5) / counts.length > threshold ? "bar-alert" : "bar-plain",
    x: index * step + 1, width: step - 2, y: top + tall - (value / most) * tall, height: (value / most) * tall }));
  const all = counts.reduce((sum, value) => sum + value, 0);
  const beyond = counts.filter((_, index) => (index + 0.5) / counts.length > threshold).reduce((sum, value) => sum + value, 0);
  draw(box, width, height,
    `Histogram of ${count(all)} scores from 0 to 1` + (threshold === null ? "" : `; ${count(beyond)} above the threshold ${score(threshold)}`),
    bars, s("line", { class: "axis", x1: 0, x2: width, y1: height - bottom, y2: height - bottom }),
    threshold === null ? null : [
      s("line", { class: "threshold", x1: at, x2: at, y1: 4, y2: height - bottom }),
      s("text", { x: at - 6, y: 12, "text-anchor": "end", class: "strong" }, `threshold ${score(threshold)}`)],
    s("text", { x: 0, y: height - 4 }, "0"),
    s("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, "anomaly score"),
    s("text", { x: width, y: height - 4, "text-anchor": "end" }, "1"));
}

// A score on its scale from 0 to 1, with the threshold.
export function scale(box, value, threshold, flagged) {
  const [width, height] = size(box, 44);
  const near = threshold > 0.5;
  draw(box, width, height, `Anomaly score ${score(value)} on a scale from 0 to 1, threshold ${score(threshold)}`,
    s("rect", { class: "track", x: 0, y: 18, width, height: 10, rx: 2 }),
    s("rect", { class: flagged ? "bar-alert" : "bar-plain", x: 0, y: 18, width: value * width, height: 10, rx: 2 }),
    s("line", { class: "tick", x1: threshold * width, x2: threshold * width, y1: 12, y2: 34 }),
    s("text", { x: threshold * width + (near ? -5 : 5), y: 11, "text-anchor": near ? "end" : "start", class: "strong" }, `threshold ${score(threshold)}`),
    s("text", { x: 0, y: 42 }, "0"), s("text", { x: width, y: 42, "text-anchor": "end" }, "1"));
}

// Round steps, at most `most` of them, from 0 up to at least the largest value.
function ticks(largest, most = 4) {
  const rough = (largest || 1) / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.ceil((largest || 1) / step) + 1 }, (_, at) => at * step);
}

const SHAPES = {
  normal: (x, y) => s("circle", { class: "dot", cx: x, cy: y, r: 3.5 }),
  alert: (x, y) => s("path", { class: "dot alert", d: `M${x} ${y - 5}l5 9h-10z` }),
  median: (x, y) => s("line", { class: "threshold", x1: x - 8, x2: x + 8, y1: y, y2: y }),
  this: (x, y) => s("path", { class: "dot this", d: `M${x} ${y - 8}l8 8-8 8-8-8z` }),
};

export const sign = (kind) => s("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" }, SHAPES[kind](8, 6));

const kindOf = (point, id) => (id !== null && point.transaction_id === id ? "this" : point.flagged ? "alert" : "normal");

// Amounts over 30 days: a stem for each transaction, its head shaped by what it is.
export function history(box, past, id, currency) {
  const [width, height] = size(box), left = 56, right = 12, top = 22, bottom = 24;
  const since = Date.parse(past.since), until = Date.parse(past.until);
  const levels = ticks(Math.max(...past.points.map((point) => point.amount), past.median_amount || 0));
  const end = levels[levels.length - 1];
  const x = (iso) => left + ((Date.parse(iso) - since) / (until - since)) * (width - left - right);
  const y = (value) => height - bottom - (value / end) * (height - top - bottom);
  const days = width < 520 ? [30, 20, 10, 0] : [30, 25, 20, 15, 10, 5, 0];
  const ordered = [...past.points].sort((a, b) => (kindOf(a, id) === "this") - (kindOf(b, id) === "this"));
  const marked = past.points.find((point) => kindOf(point, id) === "this");
  const title = `${past.points.length} transactions of user ${past.user_id} from ${date(past.since)} to ${date(past.until)}` +
    (past.median_amount === null ? "" : `, median amount ${amount(past.median_amount)}`) +
    (marked ? `; this one is ${amount(marked.amount)} on ${date(marked.event_time)}` : "");
  draw(box, width, height, title,
    levels.map((level) => [
      s("line", { class: "axis", x1: left, x2: width - right, y1: y(level), y2: y(level) }),
      s("text", { x: left - 8, y: y(level) + 4, "text-anchor": "end" }, level >= 100000 ? count(level / 1000) + "k" : count(level))]),
    days.map((ago) => {
      const at = new Date(until - ago * 86400000).toISOString();
      return s("text", { x: x(at), y: height - 6, "text-anchor": ago === 0 ? "end" : ago === 30 ? "start" : "middle" }, date(at).slice(5));
    }),
    s("text", { x: 0, y: 12 }, currency ? `Amount, ${currency}` : "Amount"),
    past.median_amount === null ? null : s("line", { class: "threshold", x1: left, x2: width - right, y1: y(past.median_amount), y2: y(past.median_amount) }),
    ordered.map((point) => {
      const kind = kindOf(point, id), at = x(point.event_time);
      const shape = SHAPES[kind](at, y(point.amount));
      shape.append(s("title", {}, `${amount(point.amount, currency)}${point.merchant ? " at " + point.merchant : ""}, ${date(point.event_time)}`));
      return [s("line", { class: `stem ${kind}`, x1: at, x2: at, y1: y(0), y2: y(point.amount) }), shape];
    }),
    marked ? label(x(marked.event_time), y(marked.amount), amount(marked.amount, currency), width) : null);
}

// Above its point, and inside the chart.
function label(x, y, text, width) {
  const anchor = x > width * 0.85 ? "end" : x < width * 0.2 ? "start" : "middle";
  return s("text", { class: "strong", x: anchor === "end" ? x + 8 : x, y: Math.max(y - 14, 12), "text-anchor": anchor }, text);
}
