// Numbers, times and codes as people read them; always with their unit, always in UTC.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const money = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const general = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });

export const count = (value) => whole.format(value);
export const compact = (value) => (value < 100000 ? whole.format(value) : short.format(value));
export const amount = (value, currency) => (currency ? `${money.format(value)}\u00a0${currency}` : money.format(value));
export const number = (value) => general.format(value);
export const score = (value) => value.toFixed(3);
export const plural = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;

export function percent(share) {
  const value = share * 100;
  return `${value > 0 && value < 10 ? value.toFixed(1) : value.toFixed(value % 1 ? 1 : 0)}\u00a0%`;
}

// With the same digits at any time, where figures change or stand below each other.
export const tenths = (share) => `${(share * 100).toFixed(1)}\u00a0%`;

export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)}\u00a0ms`;
  return ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)}\u00a0s`;
}

export const date = (iso) => new Date(iso).toISOString().slice(0, 10);
export const time = (iso) => new Date(iso).toISOString().slice(0, 19).replace("T", " ");
export const clock = (at) => `${at.toISOString().slice(11, 19)} UTC`;

// "unusual_amount" -> "Unusual amount"
export function label(code) {
  const words = code.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

// Which part is shown, null where it is all.
export function partOf(shown, all) {
  if (!all || shown >= all) return null;
  const each = Math.round(all / Math.max(shown, 1));
  return each > 1 ? `1 of ${count(each)}` : `${Math.floor((100 * shown) / all)}\u00a0% of`;
}

export const transactionPath = (id) => `#/transactions/${encodeURIComponent(id)}`;
export const userPath = (id) => `#/users/${encodeURIComponent(id)}`;
