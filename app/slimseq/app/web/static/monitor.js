// Polls the service's measurements, and keeps those of the last minutes for the charts of the live view.

import { getJson, getText } from "./api.js";
import { parseMetrics, total } from "./prometheus.js";

const PERIOD_MS = 2000;
const KEPT_SECONDS = 600;
// Rates are means over this time: short enough to see a change, long enough to be calm.
const RATE_SECONDS = 10;
const GENERATION = new Set(["/translate", "/summarize", "/compare"]);

/** One reading of the counters. Only what the charts need. */
function reading(metrics, memory) {
  const isGeneration = (labels) => GENERATION.has(labels.route);
  return {
    at: Date.now() / 1000,
    requests: total(metrics, "slimseq_requests_total", isGeneration),
    errors: total(metrics, "slimseq_requests_total", (labels) => isGeneration(labels) && /^[45]xx$/.test(labels.status)),
    tokens: total(metrics, "slimseq_output_tokens_total"),
    queueSeconds: total(metrics, "slimseq_queue_wait_seconds_sum"),
    queued: total(metrics, "slimseq_queue_wait_seconds_count"),
    inferenceSeconds: total(metrics, "slimseq_inference_duration_seconds_sum"),
    inferred: total(metrics, "slimseq_inference_duration_seconds_count"),
    batchRows: total(metrics, "slimseq_batch_rows_sum"),
    batches: total(metrics, "slimseq_batch_rows_count"),
    waiting: total(metrics, "slimseq_queue_rows"),
    resident: memory.process_resident_bytes,
    loaded: memory.variants.reduce((sum, each) => sum + each.resident_bytes, 0),
  };
}

class Monitor {
  constructor() {
    this.readings = [];
    this.series = [];
    this.listeners = new Set();
    this.timer = null;
    this.error = null;
    document.addEventListener("visibilitychange", () => this.follow());
  }

  /** Calls a function after each reading. Returns a function that ends it. */
  listen(listener) {
    this.listeners.add(listener);
    if (this.series.length) listener();
    this.follow();
    return () => this.listeners.delete(listener);
  }

  /** Polls while the page can be seen. It starts with the first listener, and goes on in other views. */
  follow() {
    clearTimeout(this.timer);
    if (!document.hidden) this.poll();
  }

  async poll() {
    clearTimeout(this.timer);
    const turn = (this.turn = {});
    try {
      const [text, latency, memory, quality, ready] = await Promise.all([
        getText("/metrics"),
        getJson("/latency"),
        getJson("/memory"),
        getJson("/quality"),
        getJson("/readyz").catch((error) => ({ status: "not ready", degraded: [error.message] })),
      ]);
      if (turn !== this.turn) return;
      this.metrics = parseMetrics(text);
      Object.assign(this, { latency, memory, quality, ready, error: null });
      this.add(reading(this.metrics, memory));
    } catch (error) {
      if (turn !== this.turn) return;
      this.error = error;
    }
    for (const listener of this.listeners) listener();
    if (!document.hidden) this.timer = setTimeout(() => this.poll(), PERIOD_MS);
  }

  add(now) {
    const last = this.readings.at(-1);
    // A restarted service counts from zero.
    if (last && now.requests < last.requests) Object.assign(this, { readings: [], series: [] });
    this.readings.push(now);
    this.readings = this.readings.filter((each) => each.at > now.at - KEPT_SECONDS);
    const before = this.readings.find((each) => each.at >= now.at - RATE_SECONDS - 1) ?? now;
    const seconds = now.at - before.at;
    const change = (name) => now[name] - before[name];
    const rate = (name) => (seconds > 0 ? change(name) / seconds : null);
    const mean = (sum, count) => (change(count) > 0 ? change(sum) / change(count) : null);
    this.series.push({
      at: now.at,
      requests: rate("requests"),
      errors: rate("errors"),
      tokens: rate("tokens"),
      queue: mean("queueSeconds", "queued"),
      inference: mean("inferenceSeconds", "inferred"),
      batch: mean("batchRows", "batches"),
      waiting: now.waiting,
      resident: now.resident,
      loaded: now.loaded,
    });
    this.series = this.series.filter((each) => each.at > now.at - KEPT_SECONDS);
  }
}

/** The monitor of this page. */
export const monitor = new Monitor();
