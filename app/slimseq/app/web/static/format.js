// Numbers, sizes and dates as text.

const EN = "en-GB";
const whole = new Intl.NumberFormat(EN, { maximumFractionDigits: 0 });
export const DASH = "–";
// A space at which no line breaks.
const FIXED = "\u00a0";

export const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A count with thousands separators. */
export const count = (value) => (isNumber(value) ? whole.format(value) : DASH);

/** A number with a fixed number of decimals. */
export const fixed = (value, decimals = 2) => (isNumber(value) ? value.toFixed(decimals) : DASH);

/** A difference, with its sign. */
export const signed = (value, decimals = 2) => {
  const text = fixed(value, decimals).replace("-", "−");
  return value > 0 ? `+${text}` : text;
};

/** Bytes in decimal units, as in the README. */
export function bytes(value) {
  if (!isNumber(value)) return DASH;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** Large counts in short: 4.4 M. */
export function short(value) {
  if (!isNumber(value)) return DASH;
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} k`;
  return count(value);
}

/** A duration in milliseconds. */
export function milliseconds(value) {
  if (!isNumber(value)) return DASH;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} ms`;
}

/** A duration in seconds, in words. */
export function duration(seconds) {
  if (!isNumber(seconds)) return DASH;
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  if (seconds < 6000) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export const percent = (value, decimals = 0) => (isNumber(value) ? `${(value * 100).toFixed(decimals)} %` : DASH);

/** A ratio, with as many decimals as in the documentation's tables. */
export const times = (value) => (isNumber(value) ? `${value.toFixed(2)}×` : DASH);

export const interval = (pair, decimals = 3) =>
  pair ? `${fixed(pair[0], decimals)} to ${fixed(pair[1], decimals)}` : DASH;

const dates = new Intl.DateTimeFormat(EN, { dateStyle: "medium", timeStyle: "short" });

export const date = (text) => (text ? dates.format(new Date(text)) : DASH);

/** How long ago a date was. */
export function ago(text) {
  const seconds = (Date.now() - new Date(text)) / 1000;
  if (seconds < 5) return "just now";
  if (seconds < 90) return `${seconds.toFixed(0)}${FIXED}s${FIXED}ago`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)}${FIXED}min${FIXED}ago`;
  if (seconds < 129_600) return `${(seconds / 3600).toFixed(0)}${FIXED}h${FIXED}ago`;
  return date(text);
}

/** The names of metrics. */
export const METRICS = {
  bleu: "BLEU",
  chrf: "chrF",
  "chrf++": "chrF++",
  rouge1: "ROUGE-1",
  rouge2: "ROUGE-2",
  rougeL: "ROUGE-L",
  rougeLsum: "ROUGE-Lsum",
};

export const metricName = (metric) => METRICS[metric] ?? metric;

export const TASKS = { translation: "Translation", summarization: "Summarization" };
