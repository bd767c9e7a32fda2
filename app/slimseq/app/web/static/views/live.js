// What the service does now: traffic, latency by phase, queue, batches, memory, agreement and errors.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { Timeline, clockTime } from "../charts/timeline.js";
import { bytes, count, fixed, isNumber, milliseconds } from "../format.js";
import { heading, loading, problem } from "../parts.js";
import { monitor } from "../monitor.js";
import { liveTables } from "./live-tables.js";

const seconds = (value) => (isNumber(value) ? milliseconds(value * 1000) : "–");
const CHARTS = [
  {
    id: "requests",
    title: "Requests a second",
    lines: [
      { key: "requests", name: "requests", tone: "--tone-1" },
      { key: "errors", name: "errors", tone: "--tone-2", dash: [5, 3] },
    ],
    text: (value) => fixed(value, value < 10 ? 1 : 0),
    least: 1,
  },
  {
    id: "tokens",
    title: "Tokens a second",
    lines: [{ key: "tokens", name: "Tokens", tone: "--accent", fill: "--accent-soft" }],
    text: count,
    least: 10,
  },
  {
    id: "latency",
    title: "Mean latency",
    lines: [
      { key: "inference", name: "generation", tone: "--tone-1" },
      { key: "queue", name: "queue", tone: "--tone-2", dash: [5, 3] },
    ],
    text: seconds,
    least: 0.01,
  },
  {
    id: "waiting",
    title: "Rows in the queue",
    lines: [{ key: "waiting", name: "Rows", tone: "--accent", fill: "--accent-soft" }],
    text: count,
    least: 4,
  },
  {
    id: "batch",
    title: "Rows in a batch",
    lines: [{ key: "batch", name: "Rows", tone: "--accent", fill: "--accent-soft" }],
    text: (value) => fixed(value, 1),
    least: 4,
  },
  {
    id: "memory",
    title: "Resident memory",
    lines: [
      { key: "resident", name: "process", tone: "--tone-1" },
      { key: "loaded", name: "models", tone: "--tone-2", dash: [5, 3] },
    ],
    text: bytes,
    least: 1e6,
  },
];

export function live(container) {
  render(
    html`${heading("Live", "What the service does now.")}
      <div id="live-state"></div>
      <div class="timelines">${CHARTS.map(frame)}</div>
      <div id="live-tables"></div>`,
    container,
  );
  const find = (id) => container.querySelector(`#${id}`);
  // The reading at the pointer, else the newest.
  let pointed = null;
  const drawFigures = () => {
    const reading = monitor.series[pointed] ?? monitor.series.at(-1);
    for (const chart of CHARTS) {
      render(figures(chart, reading), find(`figures-${chart.id}`));
      find(`at-${chart.id}`).textContent = reading === monitor.series.at(-1) ? "" : clockTime(reading.at);
    }
  };
  const point = (index) => {
    if (index === pointed) return;
    pointed = index;
    if (monitor.series.length) drawFigures();
  };
  const timelines = CHARTS.map((chart) => new Timeline(find(`chart-${chart.id}`), chart.lines, chart, point));
  const end = monitor.listen(() => {
    render(state(), find("live-state"));
    if (!monitor.series.length) return;
    CHARTS.forEach((chart, index) =>
      timelines[index].update([
        monitor.series.map((each) => each.at),
        ...chart.lines.map((line) => monitor.series.map((each) => each[line.key] ?? null)),
      ]),
    );
    drawFigures();
    render(liveTables(), find("live-tables"));
  });
  render(state(), find("live-state"));
  if (!monitor.series.length) render(loading(3), find("live-tables"));
  return () => {
    end();
    timelines.forEach((timeline) => timeline.close());
  };
}

const frame = (chart) =>
  html`<section class="panel timeline" aria-label=${chart.title}>
    <div class="timeline-top">
      <h2>${chart.title}</h2>
      <span id="at-${chart.id}"></span>
    </div>
    <p class="now" id="figures-${chart.id}"></p>
    <div class="canvas" id="chart-${chart.id}" aria-hidden="true"></div>
  </section>`;

function figures(chart, reading) {
  if (chart.lines.length === 1) return html`${chart.text(reading[chart.lines[0].key])}`;
  return html`${chart.lines.map(
    (line, index) =>
      html`<span class="now-part"
        ><svg width="18" height="8" aria-hidden="true">
          <line class="key key-${index}" x1="0" x2="18" y1="4" y2="4"></line></svg
        >${chart.text(reading[line.key])} <small>${line.name}</small></span
      >`,
  )}`;
}

function state() {
  if (monitor.error) return problem(monitor.error);
  if (!monitor.ready) return html`<p class="live-state">Reading the measurements.</p>`;
  const { status, degraded } = monitor.ready;
  const words = { ready: "Ready", degraded: "Degraded", "not ready": "Not ready" }[status] ?? status;
  return html`<p class="live-state live-${status.replace(" ", "-")}">
    <span class="pulse" aria-hidden="true"></span><b>${words}</b>
    ${monitor.refused ? html`<span>Metrics cannot be read (${monitor.refused.error.message}).</span>` : nothing}
    ${degraded?.length ? degraded.join(", ") : html`<span class="soft">Refreshed every two seconds. Rates are averages over ten seconds; those from before you opened this page are averages over the service's window.</span>`}
  </p>`;
}
