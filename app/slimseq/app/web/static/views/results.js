// The results of an evaluation: metrics, speed and outputs.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { commonDomain, drawnInterval } from "../charts/interval.js";
import { count, duration, fixed, interval, isNumber, metricName, percent } from "../format.js";
import {
  NUMBERS,
  WORDS,
  difference,
  differencesSwitch,
  isRoot,
  markIcon,
  table,
  warningsOf,
} from "../parts.js";
import { wordDiff } from "../text/compare.js";
import { PAIR_KEYS } from "../text/pairs.js";

const PRIMARY = { translation: "bleu", summarization: "rougeL" };
// The score of a single sample.
const SAMPLE_SCORES = { translation: "chrF of the sentence", summarization: "ROUGE-L of the summary" };

/** Draws what an evaluation has found. `more` shows more outputs. */
export function found(page, more) {
  const { job } = page;
  return html`${job.results ? results(page) : nothing}
  ${page.samples?.samples.length ? outputs(page, more) : nothing}`;
}

function results(page) {
  const { job } = page;
  const names = job.results[0].metrics.map((each) => each.metric);
  const metrics = [...names].sort((a, b) => (b === PRIMARY[job.task]) - (a === PRIMARY[job.task]));
  return html`${withoutReference(page)}${metrics.map((name) => metric(page, name))}${cost(page)}`;
}

/** Why variants have no retention: their base model was not evaluated beside them. */
function withoutReference({ job, variants }) {
  const alone = job.results.filter((each) => !each.reference).map((each) => each.variant);
  const known = variants.filter((each) => each.task === job.task && alone.includes(each.variant));
  const bases = [...new Set(known.map((each) => each.reference?.variant).filter(Boolean))];
  if (!bases.length) return nothing;
  return html`<p class="note">
    Retention compares a variant with its base model. To see it, evaluate ${alone.join(", ")} together with
    ${bases.join(", ")}.
  </p>`;
}

function metric(page, name) {
  const { job } = page;
  const rows = job.results
    .map((each) => ({ variant: each.variant, reference: each.reference, ...each.metrics.find((one) => one.metric === name) }))
    .filter((each) => each.metric);
  const baseline = rows[0].baseline;
  const values = [
    ...rows.flatMap((each) => each.interval),
    ...(baseline === null || baseline === undefined ? [] : [baseline]),
  ];
  const margin = (Math.max(...values) - Math.min(...values)) * 0.06 || 1;
  const domain = [Math.min(...values) - margin, Math.max(...values) + margin];
  const retained = commonDomain(rows.map((each) => each.retention_interval));
  const showsRetention = rows.some((each) => each.retention_interval);
  const baselineNote =
    job.baseline && `The dashed line is the trivial baseline (${job.baseline.name}): ${fixed(baseline, 2)}. `;
  return html`<section>
    <h2>${metricName(name)}</h2>
    ${table(
      metricName(name),
      {
        Variant: WORDS,
        "Score, with 95 % interval": WORDS,
        ...(showsRetention ? { Retention: WORDS, "p-value": NUMBERS } : {}),
      },
      rows.map((each) => metricRow(page, each, { domain, retained, baseline, showsRetention })),
    )}
    <p class="note">
      ${fewSamples(job)}${uselessBases(rows, job)}${baselineNote} <code>${rows[0].signature}</code>
    </p>
  </section>`;
}

function metricRow(page, each, { domain, retained, baseline, showsRetention }) {
  const tone = page.marks.get(each.variant)?.tone ?? 0;
  return html`<tr>
    <th scope="row"><span class="named">${mark(page, each.variant)}${each.variant}</span></th>
    <td>${drawnInterval(each.value, each.interval, domain, { decimals: 2, tone, at: baseline ?? null })}</td>
    ${showsRetention ? html`<td>${retention(each, retained, tone)}</td>` : nothing}
    ${showsRetention ? html`<td class="number">${fixed(each.p_value, 3)}</td>` : nothing}
  </tr>`;
}

function retention(each, domain, tone) {
  if (isBase(each)) return html`<span class="soft">the base model</span>`;
  if (!each.retention_interval) return html`<span class="soft">–</span>`;
  return drawnInterval(each.retention, each.retention_interval, domain, { tone });
}

// Retention of a base model is 1 by definition.
const isBase = (each) => each.reference === each.variant;

const mark = (page, name) => (page.marks.has(name) ? markIcon(page.marks.get(name)) : nothing);

function cost(page) {
  const hasAgreement = page.job.results.some(hasReference);
  return html`<section>
    <h2>Speed${hasAgreement ? " and agreement" : ""}</h2>
    ${table(
      "Speed",
      {
        Variant: WORDS,
        Time: NUMBERS,
        "Output tokens": NUMBERS,
        "Tokens a second": NUMBERS,
        "Truncated texts": NUMBERS,
        ...(hasAgreement ? { Agreement: NUMBERS, "The same text": NUMBERS } : {}),
      },
      page.job.results.map(
        (each) =>
          html`<tr>
            <th scope="row"><span class="named">${mark(page, each.variant)}${each.variant}</span></th>
            <td class="number">${duration(each.seconds)}</td>
            <td class="number">${count(each.output_tokens)}</td>
            <td class="number"><b>${count(each.tokens_per_second)}</b></td>
            <td class="number">${count(each.truncated)}</td>
            ${hasAgreement ? agreement(each) : nothing}
          </tr>`,
      ),
    )}
  </section>`;
}

const hasReference = (each) => each.agreement && each.reference !== each.variant;

function agreement(each) {
  if (!hasReference(each)) return html`<td class="number soft">${each.agreement ? "the base model" : "–"}</td><td></td>`;
  const { similarity, interval: pair, exact } = each.agreement;
  return html`<td class="number"><b>${fixed(similarity, 3)}</b> <span class="soft">${interval(pair)}</span></td>
    <td class="number">${percent(exact)}</td>`;
}

// As `MIN_SAMPLES` of the evaluation, which gives no p-values then.
const fewSamples = (job) =>
  job.samples < 30 ? html`<b>Only ${count(job.samples)} samples: too few to compare variants.</b> ` : nothing;

/** Base models that score no more than the trivial baseline: what a variant keeps of that says nothing. */
function uselessBases(rows, job) {
  const useless = rows.filter((each) => isBase(each) && isNumber(each.baseline) && each.value <= each.baseline);
  return useless.map(
    (each) =>
      html`<b
        >${each.variant} scores no more than the trivial baseline (${job.baseline?.name}): what a variant keeps of that says
        nothing.</b
      > `,
  );
}

const capital = (word) => word[0].toUpperCase() + word.slice(1);

function outputs(page, more) {
  const { samples, next } = page.samples;
  const { task, variants } = page.job;
  const base = page.variants.find((each) => each.task === task && isRoot(each) && variants.includes(each.variant));
  const reference = variants.length > 1 ? base?.variant : undefined;
  return html`<section>
    <div class="section-top">
      <h2>Outputs</h2>
      ${reference ? differencesSwitch(page, reference) : nothing}
    </div>
    <ol class="output-list">
      ${samples.map((sample) => outputsOf(page, sample, reference))}
    </ol>
    <p class="note">
      The number after an output is its score: ${SAMPLE_SCORES[task]}, from 0 to 100.
      ${samples.some(hasConfidence) ? "Confidence is the expected score divided by 100: how sure the model is." : nothing}
    </p>
    ${next === null ? nothing : html`<button type="button" class="secondary more" @click=${more}>Show more</button>`}
  </section>`;
}

const hasConfidence = ({ outputs: found }) => Object.values(found).some((each) => isNumber(each.confidence));

const judged = ({ score, confidence }) =>
  `${fixed(score, 1)}${isNumber(confidence) ? `, confidence ${fixed(confidence)}` : ""}`;

function outputsOf(page, { source, target, outputs: found }, reference) {
  const { task, variants } = page.job;
  const other = found[reference]?.text;
  const shown = (name) =>
    other === undefined || name === reference || !page.showsDifferences
      ? found[name].text
      : difference(wordDiff(other, found[name].text));
  return html`<li class="panel">
    <dl>
      <dt>${capital(PAIR_KEYS[task][0])}</dt>
      <dd>${source}</dd>
      <dt>${capital(PAIR_KEYS[task][1])}</dt>
      <dd>${target}</dd>
      ${variants
        .filter((name) => found[name])
        .map(
          (name) =>
            html`<dt><span class="named">${mark(page, name)}${name}</span></dt>
              <dd class="tone-${page.marks.get(name)?.tone ?? 0}">${shown(name)} <span class="score">${judged(found[name])}</span>${warningsOf(found[name])}</dd>`,
        )}
    </dl>
  </li>`;
}
