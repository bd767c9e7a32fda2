// One variant: cost and quality, every score, how it was made, and its files.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { getJson } from "../api.js";
import { commonDomain, drawnInterval } from "../charts/interval.js";
import {
  DASH,
  TASKS,
  bytes,
  count,
  date,
  duration,
  fixed,
  interval,
  metricName,
  milliseconds,
  percent,
  short,
  times,
} from "../format.js";
import { besides, ownPair, pairName } from "../languages.js";
import { stepNames } from "../lineage.js";
import { NUMBERS, WORDS, gateMark, isRoot, loading, markIcon, marks, problem, table, whyDefault } from "../parts.js";
import { link } from "../route.js";

export function variant(container, { parts: [task, name] }) {
  const open = async () => {
    render(loading(6), container);
    try {
      const path = `/variants/${encodeURIComponent(task)}/${encodeURIComponent(name ?? "")}`;
      const [detail, list] = await Promise.all([getJson(path), getJson("/variants")]);
      const mark = marks(besides(list.variants, { task, languages: ownPair(detail), names: [name] })).get(name);
      render(template(detail, mark, path), container);
    } catch (error) {
      render(html`${back(task)}${problem(error, open)}`, container);
    }
  };
  open();
}

const back = (task, detail) => {
  const [source, target] = detail ? ownPair(detail) : [];
  const languages = source ? `, ${pairName(ownPair(detail))}${detail.sources.length > 1 ? " and others" : ""}` : "";
  return html`<p class="crumbs">
    <a href=${link(["variants"], { task, source, target })}>Variants</a> / <span>${TASKS[task] ?? task}${languages}</span>
  </p>`;
};

function template(detail, mark, path) {
  const { manifest } = detail;
  const [source, target] = ownPair(detail);
  const variants = isRoot(detail) ? [detail.variant] : [detail.reference?.variant, detail.variant];
  return html`${back(detail.task, detail)}
    <div class="heading">
      <div>
        <h1 class="named-title">${markIcon(mark)}${detail.variant}</h1>
        ${manifest?.description ? html`<p class="lead">${manifest.description}</p>` : nothing}
      </div>
      <a
        class="primary"
        href=${link([], { task: detail.task, source, target, variant: variants })}
        >Try it in the playground</a
      >
    </div>
    ${detail.error ? problem({ title: "It cannot be loaded", message: detail.error }) : nothing}
    <dl class="facts">${facts(detail)}</dl>
    ${whyDefault(detail)}
    ${manifest ? html`${quality(detail, mark)}${gate(detail)}${confidence(detail)}${speed(detail)}${steps(manifest)}${files(manifest, path)}` : nothing}`;
}

const fact = (label, value, note) =>
  html`<div class="fact">
    <dt>${label}</dt>
    <dd>${value}<small>${note}</small></dd>
  </div>`;

/** What the documentation's tables say, where it reads differently. */
const also = (own, published) => (published === own || published === DASH ? nothing : html`; published ${published}`);

function facts(detail) {
  const { quality: recorded, speed: measured, manifest } = detail;
  const { published, weights } = detail;
  const retention = recorded?.retention;
  const facts_ = [
    [
      "Retention",
      fixed(retention?.value, 3),
      isRoot(detail)
        ? "the base model"
        : retention
          ? html`of ${metricName(retention.metric)}, ${interval(retention.interval)}, lowest on
              ${retention.dataset}${also(fixed(retention.value, 3), fixed(published?.retention?.value, 3))}`
          : "not measured",
    ],
    [
      "Speed",
      times(measured?.speed_up),
      measured
        ? html`${count(measured.tokens_per_second)} of ${count(measured.base_tokens_per_second)} tokens/s
          ${measured.is_here ? "on this machine" : `on ${measured.machine}`}${measured.is_rough ? ", rough: it was busy" : ""}${also(times(measured.speed_up), times(published?.speed?.speed_up))}`
        : html`not measured here${also(DASH, times(published?.speed?.speed_up))}`,
    ],
    ["Model files", bytes(detail.bytes), detail.runtime ? `that ${detail.runtime} reads` : ""],
    ["Weights", bytes(weights?.bytes), weights ? `smallest format: ${weights.format}` : ""],
    ["Memory", bytes(measured?.resident_bytes), "when loaded"],
    [
      "Parameters",
      short(detail.parameters),
      manifest?.size.nonzero_parameters < detail.parameters
        ? `${short(manifest.size.nonzero_parameters)} are not zero`
        : detail.family,
    ],
    ["Gate", gateMark(recorded?.gate), ""],
  ];
  const agreement = recorded?.agreement;
  if (agreement)
    facts_.splice(1, 0, ["Agreement", fixed(agreement.similarity, 3), `${percent(agreement.exact)} the same text`]);
  return facts_.map((each) => fact(...each));
}

function quality({ manifest, ...detail }, mark) {
  if (!manifest.quality.length) return nothing;
  const scores = [...manifest.quality].sort(
    (a, b) => a.dataset.localeCompare(b.dataset) || a.metric.localeCompare(b.metric),
  );
  const domain = commonDomain(scores.map((score) => score.retention_interval));
  const showsRetention = !isRoot(detail);
  return html`<section>
    <h2>Scores</h2>
    ${table(
      "Scores",
      {
        "Data set": WORDS,
        Metric: WORDS,
        Score: NUMBERS,
        "95 % interval": WORDS,
        ...(showsRetention ? { "Base model, same run": NUMBERS } : {}),
        "Trivial baseline": NUMBERS,
        ...(showsRetention ? { Retention: WORDS } : {}),
        Samples: NUMBERS,
      },
      scores.map((score, index) => scoreRow(score, scores[index - 1], domain, showsRetention && mark.tone)),
    )}
    <p class="note">Measured ${[...new Set(scores.map(measuredOn))].join("; ")}. On another CPU, int8 may differ slightly.</p>
  </section>`;
}

const measuredOn = ({ runtime, cpu_flags: flags }) => `with ${runtime} on a CPU with ${flags.join(", ")}`;

/** A score. The data set's name is shown once. `tone` is false for a base model, which has no retention. */
function scoreRow(score, before, domain, tone) {
  const isSame = score.dataset === before?.dataset;
  return html`<tr>
    <th scope="row"><span class=${isSame ? "visually-hidden" : ""}>${score.dataset}</span></th>
    <td>${score.metric}</td>
    <td class="number"><b>${fixed(score.value, 2)}</b></td>
    <td class="soft nowrap">${interval(score.interval, 2)}</td>
    ${tone === false ? nothing : html`<td class="number soft">${fixed(score.retention ? score.value / score.retention : null, 2)}</td>`}
    <td class="number soft">${fixed(score.baseline, 2)}</td>
    ${tone === false ? nothing : html`<td>${retention(score, domain, tone)}</td>`}
    <td class="number soft">${count(score.samples)}</td>
  </tr>`;
}

function retention(score, domain, tone) {
  if (score.retention === null) return html`<span class="soft">–</span>`;
  return drawnInterval(score.retention, score.retention_interval, domain, { tone });
}

function gate({ quality: recorded }) {
  const checks = recorded?.gate.checks ?? [];
  if (!checks.length) return nothing;
  return html`<section>
    <h2>Gate</h2>
    <ul class="checks">
      ${checks.map(
        (check) =>
          html`<li>
            ${gateMark({ verdict: check.is_passed ? "passed" : "rejected" })}<span
              >${check.name}${check.warnings.map((warning) => html`<span class="row-note">${warning}.</span>`)}</span
            ><span class="number"
              ><b>${fixed(check.value, 3)}</b> <span class="soft">${limitOf(check)}</span></span
            >
          </li>`,
      )}
    </ul>
  </section>`;
}

const limitOf = ({ interval: pair, is_confident: isConfident, limit }) =>
  `${pair ? `(${interval(pair)}) ` : ""}${isConfident ? "lower bound at least" : "at least"} ${limit}`;

/** What the confidence of outputs is worth. */
function confidence({ confidence: calibration }) {
  if (!calibration) return nothing;
  const { is_used: isUsed, samples, dataset, spearman, spearman_interval: pair } = calibration;
  const measured = html`Rank correlation with the quality of outputs: <b>${fixed(spearman)}</b> (95 % interval
    ${interval(pair, 2)}), on ${count(samples)} samples of ${dataset}.`;
  return html`<section>
    <h2>Confidence of outputs</h2>
    <p class="prose">
      ${
        isUsed
          ? html`Outputs have a confidence: the chrF / 100 that such outputs have, not the probability that they are
              right. ${measured} 1 would be the right order, 0 means no relation. On held-out samples it is off by
              ${fixed(calibration.calibration_error)} on average.`
          : html`Outputs have no confidence, because it would mean nothing. ${measured}`
      }
    </p>
  </section>`;
}

function speed({ manifest, speed: own }) {
  // What `prepare` measured on this machine is not in the manifest.
  const isRecorded = manifest.performance.some((each) => each.measured_at === own?.measured_at);
  const rows = [...(own && !isRecorded ? [own] : []), ...manifest.performance];
  if (!rows.length) return nothing;
  return html`<section>
    <h2>Speed</h2>
    ${table(
      "Speed",
      {
        Machine: WORDS,
        Runtime: WORDS,
        "Texts at a time": NUMBERS,
        p50: NUMBERS,
        p95: NUMBERS,
        "Tokens a second": NUMBERS,
        Memory: NUMBERS,
      },
      rows.map(
        (each) =>
          html`<tr>
            <th scope="row">${each.host}${each.is_here ? ", this machine" : ""}</th>
            <td>${each.runtime}</td>
            <td class="number">${each.batch}</td>
            <td class="number">${milliseconds(each.p50_ms)}</td>
            <td class="number">${milliseconds(each.p95_ms)}</td>
            <td class="number"><b>${count(each.tokens_per_second)}</b></td>
            <td class="number">${bytes(each.resident_bytes)}</td>
          </tr>`,
      ),
    )}
  </section>`;
}

function steps(manifest) {
  return html`<section>
    <h2>How it was made</h2>
    <ol class="steps">
      ${manifest.lineage.map(
        (step) =>
          html`<li>
            <div class="step">
              <b>${stepNames([step])[0]}</b>
              <span class="soft">${[duration(step.seconds), step.device].filter(Boolean).join(" on ")}</span>
              <details>
                <summary>Parameters and versions</summary>
                <pre tabindex="0">
${JSON.stringify({ ...step.parameters, seed: step.seed, versions: step.versions }, null, 2)}</pre>
              </details>
            </div>
          </li>`,
      )}
    </ol>
  </section>`;
}

function files(manifest, path) {
  const total = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  const newest = manifest.performance.at(-1)?.measured_at;
  return html`<section>
    <h2>Files</h2>
    ${table(
      "Files",
      { Path: WORDS, Size: NUMBERS, "SHA-256": WORDS },
      manifest.files.map(
        (file) =>
          html`<tr>
            <th scope="row"><code>${file.path}</code></th>
            <td class="number">${bytes(file.bytes)}</td>
            <td><code class="soft" title=${file.sha256}>${file.sha256.slice(0, 16)}…</code></td>
          </tr>`,
      ),
    )}
    <p class="note">
      ${manifest.files.length} files, ${bytes(total)}. Licence of the weights: ${manifest.license}.
      ${newest ? `Measured ${date(newest)}. ` : ""}<br />
      Digest <code>${manifest.digest}</code><br /><a href=${path.slice(1)}>The manifest as JSON</a>
    </p>
  </section>`;
}
