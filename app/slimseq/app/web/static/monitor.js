// Polls the service's measurements, and keeps those of the last minutes for the charts of the live view.

import { getJson, getText } from "./api.js";
import { isNumber } from "./format.js";
import { storedKey } from "./key.js";
import { parseMetrics, total as sum } from "./prometheus.js";

const PERIOD_MS = 2000;
const KEPT_SECONDS = 600;
// Rates are means over this time: short enough to see a change, long enough to be calm.
const RATE_SECONDS = 10;
const GENERATION = new Set(["/translate", "/summarize", "/compare"]);

/** One reading of the counters. Only what the charts need. Without metrics, counters are not numbers. */
function reading(metrics, memory) {
  const total = (...of) => (metrics === null ? NaN : sum(metrics, ...of));
  const isGeneration = (labels) => GENERATION.has(labels.route);
  return {
    at: Date.now() / 1000,
    requests: total("slimseq_requests_total", isGeneration),
    errors: total("slimseq_requests_total", (labels) => isGeneration(labels) && /^[45]xx$/.test(labels.status)),
    tokens: total("slimseq_output_tokens_total"),
    queueSeconds: total("slimseq_queue_wait_seconds_sum"),
    queued: total("slimseq_queue_wait_seconds_count"),
    inferenceSeconds: total("slimseq_inference_duration_seconds_sum"),
    inferred: total("slimseq_inference_duration_seconds_count"),
    batchRows: total("slimseq_batch_rows_sum"),
    batches: total("slimseq_batch_rows_count"),
    waiting: total("slimseq_queue_rows"),
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
    // Why there are no metrics: the key is for other things, or they are on a port of operators.
    this.refused = null;
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
      const [metrics, latency, memory, quality, ready] = await Promise.all([
        this.readMetrics(),
        getJson("/latency"),
        getJson("/memory"),
        getJson("/quality"),
        getJson("/readyz").catch((error) => ({ status: "not ready", degraded: [error.message] })),
      ]);
      if (turn !== this.turn) return;
      Object.assign(this, { metrics, latency, memory, quality, ready, error: null });
      this.add(reading(metrics, memory));
    } catch (error) {
      if (turn !== this.turn) return;
      this.error = error;
    }
    for (const listener of this.listeners) listener();
    if (!document.hidden) this.timer = setTimeout(() => this.poll(), PERIOD_MS);
  }

  /** Resolves to the metrics, or to null where they are refused. They are asked for again with another key. */
  async readMetrics() {
    const key = storedKey();
    if (this.refused !== null && this.refused.key === key) return null;
    try {
      const text = await getText("/metrics");
      this.refused = null;
      return parseMetrics(text);
    } catch (error) {
      if (error.status !== 403 && error.status !== 404) throw error;
      this.refused = { key: storedKey(), error };
      return null;
    }
  }

  /** What the service has of the time before the first reading: means over its window. */
  window(at) {
    const { latencies, window_seconds: seconds } = this.latency;
    const requests = latencies.reduce((total, each) => total + each.count, 0);
    if (!requests) return [];
    const mean = (phase) => latencies.reduce((total, each) => total + each.count * each[phase].p50, 0) / requests / 1000;
    const means = { requests: requests / seconds, queue: mean("queue_ms"), inference: mean("inference_ms") };
    return [at - seconds, at - 1].map((time) => ({ at: time, ...means }));
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
    const rate = (name) => (seconds > 0 && isNumber(change(name)) ? change(name) / seconds : null);
    const mean = (sum, count) => (change(count) > 0 ? change(sum) / change(count) : null);
    if (!this.series.length) this.series.push(...this.window(now.at));
    this.series.push({
      at: now.at,
      requests: rate("requests"),
      errors: rate("errors"),
      tokens: rate("tokens"),
      queue: mean("queueSeconds", "queued"),
      inference: mean("inferenceSeconds", "inferred"),
      batch: mean("batchRows", "batches"),
      waiting: isNumber(now.waiting) ? now.waiting : null,
      resident: now.resident,
      loaded: now.loaded,
    });
    this.series = this.series.filter((each) => each.at > now.at - KEPT_SECONDS);
  }
}

/** The monitor of this page. */
export const monitor = new Monitor();
