// Makes elements without ever parsing text as HTML: what a transaction says stays text.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

export function meter(share, isAlert = false) {
  const inner = h("i");
  inner.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return h("span", { class: isAlert ? "meter alert" : "meter", "aria-hidden": "true" }, inner);
}

// Colour is never alone: an alert has a triangle and the word, an ordinary verdict a dot and another word.
export function badge(flagged, isLarge = false) {
  const sign = flagged ? s("path", { d: "M6 0 12 11H0Z" }) : s("circle", { cx: 6, cy: 6, r: 3 });
  const classes = ["badge", flagged && "alert", isLarge && "large"].filter(Boolean).join(" ");
  return h("span", { class: classes }, s("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, sign), h("span", { class: isLarge ? null : "word" }, flagged ? "Alert" : "Normal"));
}

export const pairs = (list) => list.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));

export const facts = (list) =>
  list.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
