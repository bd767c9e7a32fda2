// The tables of the live view: latency by phase, what is in memory, errors, and agreement.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { drawnInterval } from "../charts/interval.js";
import { TASKS, bytes, count, duration, fixed, milliseconds, percent } from "../format.js";
import { monitor } from "../monitor.js";
import { NUMBERS, WORDS, table } from "../parts.js";

/** Draws the tables of the newest reading. */
export function liveTables() {
  return html`${latency()}
    <div class="two">${memory()}${errors()}</div>
    ${agreement()}`;
}

function latency() {
  const { latencies, window_seconds: window } = monitor.latency;
  const title = html`<h2>Latency by phase <span class="soft small">last ${duration(window)}</span></h2>`;
  if (!latencies.length)
    return html`<section class="live-section">
      ${title}
      <p class="empty">No request was answered in this time.</p>
    </section>`;
  const longest = Math.max(...latencies.map((each) => each.total_ms.p50));
  return html`<section class="live-section">
    ${title}
    ${table(
      "Latency by phase",
      {
        Variant: WORDS,
        Requests: NUMBERS,
        "p50 of each phase": WORDS,
        "Queue p95": NUMBERS,
        "Generation p95": NUMBERS,
        "Total p50": NUMBERS,
        "Total p95": NUMBERS,
        "Total p99": NUMBERS,
      },
      latencies.map(
        (each) =>
          html`<tr>
            <th scope="row">${each.variant} <span class="row-note">${TASKS[each.task]}</span></th>
            <td class="number">${count(each.count)}</td>
            <td>${phases(each, longest)}</td>
            <td class="number">${milliseconds(each.queue_ms.p95)}</td>
            <td class="number">${milliseconds(each.inference_ms.p95)}</td>
            <td class="number">${milliseconds(each.total_ms.p50)}</td>
            <td class="number"><b>${milliseconds(each.total_ms.p95)}</b></td>
            <td class="number">${milliseconds(each.total_ms.p99)}</td>
          </tr>`,
      ),
      "latency",
    )}
    <p class="legend" aria-hidden="true">
      <span
        ><svg width="12" height="12"><rect class="phase-queue" width="12" height="12" rx="2"></rect></svg>queue</span
      ><span
        ><svg width="12" height="12"><rect class="phase-inference" width="12" height="12" rx="2"></rect></svg
        >generation</span
      ><span
        ><svg width="12" height="12"><rect class="phase-other" width="12" height="12" rx="2"></rect></svg>loading,
        tokenization and selection</span
      >
    </p>
  </section>`;
}

function phases(each, longest) {
  const scale = 200 / longest;
  const queue = each.queue_ms.p50 * scale;
  const inference = each.inference_ms.p50 * scale;
  const other = Math.max(0, each.total_ms.p50 * scale - queue - inference);
  return html`<svg class="phases" width="200" height="14" viewBox="0 0 200 14" aria-hidden="true">
    <rect class="phase-rail" width="200" height="14" rx="3"></rect>
    <rect class="phase-queue" width=${queue} height="14"></rect>
    <rect class="phase-inference" x=${queue} width=${inference} height="14"></rect>
    <rect class="phase-other" x=${queue + inference} width=${other} height="14"></rect>
  </svg>`;
}

function memory() {
  const report = monitor.memory;
  const models = report.variants.reduce((sum, each) => sum + each.resident_bytes, 0);
  return html`<section class="live-section">
    <h2>In memory</h2>
    ${table(
      "In memory",
      { Variant: WORDS, Runtime: WORDS, Memory: NUMBERS, "Loaded in": NUMBERS },
      html`${report.variants.map(
          (each) =>
            html`<tr>
              <th scope="row">${each.variant} <span class="row-note">${TASKS[each.task]}</span></th>
              <td>${each.runtime}</td>
              <td class="number"><b>${bytes(each.resident_bytes)}</b></td>
              <td class="number">${duration(each.load_seconds)}</td>
            </tr>`,
        )}
        <tr>
          <th scope="row" class="soft">the rest of the process</th>
          <td></td>
          <td class="number">${bytes(Math.max(0, report.process_resident_bytes - models))}</td>
          <td></td>
        </tr>`,
    )}
    <p class="note">
      ${report.budget_bytes === null ? "No memory budget is set." : `The budget for models is ${bytes(report.budget_bytes)}.`}
      ${count(report.evictions)} evictions. ${bytes(report.host_available_bytes)} are free on this machine.
    </p>
  </section>`;
}

function errors() {
  if (monitor.metrics === null) return nothing;
  const rejected = (monitor.metrics.get("slimseq_rejected_total") ?? [])
    .filter((each) => each.value > 0)
    .sort((a, b) => b.value - a.value);
  return html`<section class="live-section">
    <h2>Errors <span class="soft small">since the start</span></h2>
    ${
      rejected.length
        ? table(
            "Errors",
            { Problem: WORDS, Requests: NUMBERS },
            rejected.map(
              (each) =>
                html`<tr>
                  <th scope="row">${each.labels.reason.replaceAll("-", " ")}</th>
                  <td class="number"><b>${count(each.value)}</b></td>
                </tr>`,
            ),
          )
        : html`<p class="empty">No request has failed.</p>`
    }
  </section>`;
}

/** Agreement on live traffic, where the base model answers some requests again. */
function agreement() {
  const measured = monitor.quality.qualities.filter((each) => each.live_agreement);
  if (!measured.length) return nothing;
  return html`<section class="live-section">
    <h2>Agreement with the base model</h2>
    ${table(
      "Agreement with the base model",
      {
        Variant: WORDS,
        "Live, with an interval that is valid at any time": WORDS,
        "The same text": NUMBERS,
        Outputs: NUMBERS,
        Recorded: NUMBERS,
      },
      measured.map(agreementRow),
    )}
  </section>`;
}

function agreementRow({ task, variant, live_agreement: now, agreement: recorded }) {
  const domain = [Math.min(0.5, now.interval[0]), 1];
  return html`<tr>
    <th scope="row">${variant} <span class="row-note">${TASKS[task]}</span></th>
    <td>
      ${drawnInterval(now.similarity, now.interval, domain, { limit: recorded?.similarity ?? null, tone: 4, at: null })}
    </td>
    <td class="number">${percent(now.exact)}</td>
    <td class="number">${count(now.outputs)}</td>
    <td class="number">${fixed(recorded?.similarity, 3)}</td>
  </tr>`;
}
