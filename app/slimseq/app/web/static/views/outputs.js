// The outputs of the playground: a column for each variant, whose rows stand side by side.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { repeat } from "../vendor/lit-html/directives/repeat.js";
import { bytes, count, fixed, interval, isNumber, metricName, milliseconds, percent } from "../format.js";
import { icons } from "../icons.js";
import { bar, copyButton, difference, differencesSwitch, isRoot, markIcon, viewSwitch, warningsOf } from "../parts.js";
import { link } from "../route.js";
import { afterVote, counted } from "./blind.js";
import { AGREEMENT_METRIC, agreement, wordDiff } from "../text/compare.js";
import { wordsOf } from "../text/structure.js";
import { marker, outputClass, structureLine } from "./markup.js";
import { preview } from "./preview.js";

const STATES = {
  waiting: "Waiting",
  loading: "Loading the model",
  starting: "Reading",
  writing: "Writing",
  stopped: "Stopped",
  failed: "Failed",
};

/** Draws the columns. `page` is the playground. */
export function outputs(page) {
  const names = page.blind?.columns ?? page.chosen;
  const find = (name) => page.variants.find((each) => each.variant === name);
  const chosen = names.map(find);
  if (chosen.length === 0) return html`<p class="empty">Choose a variant to see what it writes.</p>`;
  const reference = chosen.find(isRoot) ?? find(page.chosen[0]);
  const columns = chosen.map((each) => column(page, each, reference));
  const longest = Math.max(...columns.map((each) => each.milliseconds ?? 0));
  const largest = Math.max(...columns.map((each) => each.variant.bytes ?? 0));
  return html`<section aria-labelledby="outputs-title">
    <div class="outputs-top">
      <h2 id="outputs-title" tabindex="-1">Outputs</h2>
      <div class="switches">
        ${page.outputFormat === "text" ? nothing : viewSwitch(page, "showsPreview", "Preview")}
        ${chosen.length > 1 ? differencesSwitch(page, reference.variant) : nothing}
      </div>
    </div>
    ${page.blind ? afterVote(page.blind) : nothing}
    <div class="outputs columns-${columns.length}">
      ${repeat(
        columns,
        (each) => each.variant.variant,
        (each) => article(page, each, { longest, largest }),
      )}
    </div>
    <p class="note">
      Variants run one after the other, so that their times compare. Time is without loading.
      ${chosen.length > 1 ? html`Agreement is ${AGREEMENT_METRIC[page.task]} against the output of ${reference.variant}${page.outputFormat === "text" ? "" : ", without markup"}.` : nothing}
    </p>
  </section>`;
}

function column(page, variant, reference) {
  const result = page.results.get(variant.variant);
  const referenceResult = page.results.get(reference.variant);
  const isDone = result?.state === "done";
  const isReference = variant === reference;
  const compares = isDone && referenceResult?.state === "done" && !isReference;
  const time = isDone ? result.response.timings.inference_ms : null;
  const tokens = isDone ? result.response.outputs[0].output_tokens : null;
  return {
    variant,
    result,
    isReference,
    milliseconds: time,
    tokens,
    tokensPerSecond: time ? (tokens / time) * 1000 : null,
    agreement: compares ? agreement(page.task, ...[referenceResult, result].map((each) => wordsOf(page.outputFormat, each.text))) : null,
    isSameText: compares && result.text === referenceResult.text,
    pieces: compares ? wordDiff(referenceResult.text, result.text, page.outputFormat) : null,
  };
}

function article(page, each, { longest, largest }) {
  const { variant, result } = each;
  const retention = variant.quality?.retention;
  const name = variant.variant;
  return html`<article
    class="output tone-${page.marks.get(name).tone}"
    aria-busy=${["loading", "starting", "writing"].includes(result?.state)}>
    <header>
      ${markIcon(page.marks.get(name))}
      <h3><a href=${link(["variants", variant.task, name])}>${name}</a></h3>
      ${each.isReference ? html`<span class="tag">reference</span>` : nothing}
      ${page.blind?.feedback?.variant === name ? html`<span class="tag tag-good">your choice</span>` : nothing}
      <span class="state state-${result?.state}">${STATES[result?.state] ?? (result ? copyButton("Copy", () => page.results.get(name).text) : nothing)}</span>
    </header>
    <div class=${outputClass(page)} lang=${page.pair.at(-1) ?? "en"}>${text(page, each)}${structureLine(page, result)}${warningsOf(result?.response?.outputs[0] ?? {})}</div>
    <dl class="figures">
      ${figure("Time", milliseconds(each.milliseconds), bar(each.milliseconds / longest))}
      ${figure("Tokens/s", count(each.tokensPerSecond), note(each.tokens && `${each.tokens} tokens`))}
      ${figure("Model files", bytes(variant.bytes), bar(variant.bytes / largest))}
      ${figure("Retention", fixed(retention?.value, 3), note(isRoot(variant) ? "the base model" : retention && `${metricName(retention.metric)}, ${interval(retention.interval)}`))}
      ${page.variants.some((one) => one.confidence?.is_used) ? confidence(each) : nothing}
      ${figure("Agreement", agreementText(each), note(each.agreement === 1 && (each.isSameText ? "the same text" : "the same words")))}
    </dl>
    <div>${result?.response ? alternatives(page, result, variant) : nothing}${result?.response && !page.blind ? vote(page, result, name) : nothing}</div>
  </article>`;
}

const agreementText = ({ agreement: value }) =>
  value === null ? html`<span class="soft">–</span>` : percent(value, value === 1 ? 0 : 1);

const note = (words) => html`<span class="figure-note">${words || nothing}</span>`;

const figure = (label, value, note) =>
  html`<div class="figure">
    <dt>${label}</dt>
    <dd><span class="figure-value">${value}</span>${note}</dd>
  </div>`;

/** How sure the model is, if the variant is calibrated, as variants that translate may be. */
function confidence({ variant, result }) {
  const response = result?.response;
  const value = response?.outputs[0].confidence;
  const absent = variant.confidence ? "says too little here" : "not calibrated";
  const reason = variant.confidence?.is_used ? response && "only of complete outputs" : absent;
  const meaning =
    "How sure the model is, as the chrF / 100 to expect of this output (measured on dev data). " +
    "It is not the probability that the output is right.";
  return figure("Confidence", html`<span title=${meaning}>${fixed(value)}</span>`, note(isNumber(value) ? "expected chrF / 100" : reason));
}

function text(page, { variant, result, pieces }) {
  if (!result) return html`<p class="placeholder">Press Run.</p>`;
  if (result.state === "failed") return html`<p class="output-error" role="alert">${result.error.message}</p>`;
  if (page.showsPreview && page.outputFormat !== "text" && result.state === "done")
    return preview(page.outputFormat, result.text, variant.variant);
  const show = marker(page, result.text);
  if (pieces && page.showsDifferences) return html`<p>${difference(pieces, show)}</p>`;
  const isWriting = result.state === "writing";
  return html`<p>${show()}${isWriting ? html`<span class="caret" aria-hidden="true"></span>` : nothing}</p>`;
}

/** A menu with other outputs, which are asked for when it opens. */
function alternatives(page, result, variant) {
  const { others, othersError } = result;
  const found = others?.map((text) => html`<li>${text}</li>`);
  return html`<details class="alternatives" @toggle=${(event) => event.target.open && page.findOthers(result, variant.variant)}>
    <summary>Alternatives</summary>
    ${othersError ? html`<p class="output-error" role="alert">${othersError.message}</p>` : nothing}
    ${found?.length ? html`<ul lang=${page.pair.at(-1) ?? "en"}>${found}</ul>` : html`<p class="soft">${others ? "There is no other output." : "Searching"}</p>`}
  </details>`;
}

function vote(page, result, name) {
  const button = (rating, label, icon) =>
    html`<button
      type="button"
      class="chip"
      aria-pressed=${result.rating === rating}
      aria-disabled=${result.rating !== undefined}
      aria-label="${name}: ${label}"
      @click=${() => page.rate(result, rating)}>
      ${icon}${label}
    </button>`;
  return html`<div class="vote" role="group" aria-label="Rate the output of ${name}">
    ${button(1, "Good", icons.up)}${button(0, "Poor", icons.down)}
    <span class="soft" role="status">${result.feedback ? html`Thank you. ${counted(result.feedback)}` : nothing}</span>
    ${result.ratingError ? html`<span class="output-error" role="alert">${result.ratingError.message}</span>` : nothing}
  </div>`;
}
