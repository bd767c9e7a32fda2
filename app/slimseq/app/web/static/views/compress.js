// What a run of `compress` found: the chosen variant and why, its chart, its table, and where the original's time goes.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { frontPlot } from "../charts/front.js";
import { commonDomain, intervalBar } from "../charts/interval.js";
import { METRICS, bytes, count, date, fixed, interval, metricName, percent, times } from "../format.js";
import { icons } from "../icons.js";
import { NUMBERS, WORDS, bar, copyButton, markIcon, table } from "../parts.js";
import { link } from "../route.js";

// Marks are as large as files: the largest one is drawn so many times larger, and none smaller than can be seen.
const LARGEST_SCALE = 2.2;
const SMALLEST_SCALE = 0.65;
// The structures that are shown at first, those that take most time.
const FIRST_STRUCTURES = 6;
const DEFAULT_METRICS = { translation: "chrf", summarization: "rougeL" };

const AXIS = {
  label: "Speed, times the original's",
  format: (value) => `${value}×`,
  moreIsBetter: true,
};

/**
 * What a run found.
 *
 * @param front as the service has it.
 * @param all the variants of the group, with details.
 * @param own the marks of the variants, by name.
 * @param page `{width, lit, light, showsAll, draw}`: the width of the view, the name of the highlighted variant and what
 *   highlights one, a set of the fronts whose structures are all shown, and what draws the view.
 */
export function compressFront(front, all, own, page) {
  const details = new Map(all.map((each) => [each.variant, each]));
  const variants = front.variants.filter((each) => details.has(each.variant));
  if (!variants.length) return nothing;
  const shown = { ...front, variants, quality: front.is_agreement ? "Agreement" : "Retention" };
  const id = `compress-${front.original}`;
  const hasStructures = front.structures.length > 0;
  return html`<section class="found" aria-labelledby=${id}>
    <h3 id=${id} class="found-title">What compress found</h3>
    ${choice(shown, own)}
    <div class="overview ${hasStructures ? "" : "alone"}">
      <div class="panel plot-panel">
        <div class="panel-top"><h4>${shown.quality} against speed</h4></div>
        ${plot(shown, details, own, page, hasStructures)}
      </div>
      ${hasStructures ? structures(shown, page) : nothing}
    </div>
    ${variantsTable(shown, own, page)} ${notes(shown)} ${command(shown)}
  </section>`;
}

const nameOfMetric = ({ metric }) => (metric === "scorer" ? "the scorer" : metricName(metric));

/** The chosen variant, the reason, and what was asked for. */
function choice(front, own) {
  const isThere = front.variants.some((each) => each.variant === front.chosen);
  let words = html`No variant keeps the bar.`;
  if (front.chosen !== null && isThere)
    words = html`${markIcon(own.get(front.chosen))}<span
        ><a href=${link(["variants", front.task, front.chosen])}>${front.chosen}</a> was chosen.</span
      >`;
  else if (front.chosen !== null) words = html`${front.chosen} was chosen. The store no longer has it as it was measured.`;
  return html`<p class="found-choice">${words}</p>
    <p class="found-reason">${reasonOf(front)}</p>
    <p class="found-asked">
      <span>Bar: ${front.keep} ${front.is_agreement ? "agreement" : "retention"} of ${nameOfMetric(front)}</span>
      <span>Aim: ${front.aim}</span>
      <span>Within ${front.within}</span>
      <span>${count(front.samples)} held-out ${front.is_agreement ? "texts" : "pairs"}</span>
      <span>${date(front.measured_at)}</span>
    </p>`;
}

/** The reason as a sentence. The line above it names the chosen variant. */
function reasonOf({ reason, chosen }) {
  let text = reason;
  if (chosen !== null && reason.startsWith(`${chosen} is `)) text = `It${reason.slice(chosen.length)}`;
  else if (reason.startsWith("no ")) text = `N${reason.slice(1)}`;
  return unbroken(/[.!?]$/.test(text) ? text : `${text}.`);
}

/** A text in which no line breaks between a number and its percent sign. */
const unbroken = (text) => text.replace(/(\d) %/g, "$1\u00a0%");

function plot(front, details, own, page, hasStructures) {
  const original = details.get(front.original);
  const largest = Math.max(original.weights?.bytes ?? 0, ...front.variants.map((each) => each.bytes));
  // The area of a mark is in proportion to the bytes.
  const scale = (size) => Math.max(SMALLEST_SCALE, LARGEST_SCALE * Math.sqrt((size || 0) / (largest || 1)));
  const base = {
    name: front.original,
    x: 1,
    y: 1,
    interval: null,
    mark: own.get(front.original),
    href: link(["variants", front.task, front.original]),
    scale: scale(original.weights?.bytes),
    isHollow: false,
    facts: ["the original", bytes(original.weights?.bytes)],
  };
  // Speed has a logarithmic axis.
  const points = front.variants.filter((each) => each.speed_up > 0).map((each) => pointOf(each, front, own, scale));
  const isWide = page.width > 900 && hasStructures;
  const width = (isWide ? Math.floor((page.width - 24) * 0.68) : page.width) - 42;
  const options = { label: front.quality, bar: { value: front.keep, text: `bar ${front.keep}` } };
  // As high as the structures beside it.
  let height = page.width > 900 ? 380 : 320;
  if (isWide) height = 460;
  return html`${frontPlot([base, ...points], AXIS, { width, height }, page.lit, page.light, options)} ${legend(front)}`;
}

function pointOf(each, front, own, scale) {
  return {
    name: each.variant,
    x: each.speed_up,
    y: each.retention,
    interval: each.interval,
    mark: own.get(each.variant),
    href: link(["variants", front.task, each.variant]),
    scale: scale(each.bytes),
    isHollow: !each.keeps,
    isChosen: each.variant === front.chosen,
    facts: [
      `${front.quality.toLowerCase()} ${fixed(each.retention, 3)} (${interval(each.interval)})`,
      `${times(each.speed_up)} as fast as the original`,
      bytes(each.bytes),
      ...(each.variant === front.chosen ? ["chosen"] : []),
      each.keeps ? "keeps the bar" : "not confirmed to keep the bar",
    ],
  };
}

const legend = (front) => html`<p class="legend" aria-hidden="true">
  ${
    front.variants.some((each) => each.variant === front.chosen)
      ? html`<span
          ><svg width="22" height="22" viewBox="-11 -11 22 22">
            <circle class="ring" r="9"></circle>
            <circle class="solid" r="4.5"></circle></svg
          >chosen</span
        >`
      : nothing
  }
  <span
    ><svg width="14" height="14" viewBox="-7 -7 14 14"><circle class="hollow" r="4.5"></circle></svg>not confirmed to keep
    the bar</span
  >
  <span
    ><svg width="26" height="18" viewBox="0 0 26 18">
      <circle class="solid" cx="4" cy="9" r="3"></circle>
      <circle class="solid" cx="17" cy="9" r="7"></circle></svg
    >size of the weights</span
  >
  <span
    ><svg width="26" height="10"><line class="bar-line" x1="0" x2="26" y1="5" y2="5"></line></svg>the bar</span
  >
</p>`;

function variantsTable(front, own, page) {
  const domain = commonDomain([...front.variants.map((each) => each.interval), [front.keep, front.keep]]);
  const largest = Math.max(...front.variants.map((each) => each.bytes));
  const fastest = Math.max(...front.variants.map((each) => each.speed_up));
  const quality = `${front.quality}, with 95 % interval`;
  const columns = { Variant: WORDS, [quality]: WORDS, "Lower bound": WORDS, Speed: WORDS, Weights: WORDS };
  const row = (each) => html`<tr
    class="tone-${own.get(each.variant).tone} ${page.lit === each.variant ? "lit" : ""}"
    @pointerenter=${() => page.light(each.variant)}
    @pointerleave=${() => page.light(null)}>
    <th scope="row">
      <a class="row-name" href=${link(["variants", front.task, each.variant])}
        >${markIcon(own.get(each.variant))}<span>${each.variant}</span></a
      >
      <span class="row-note"
        >${each.variant === front.chosen ? html`<span class="tag chosen-tag">chosen</span> ` : nothing}${each.title}</span
      >
    </th>
    <td data-label=${quality}>
      <div class="with-interval">
        ${intervalBar(each.retention, each.interval, domain, { limit: front.keep, tone: own.get(each.variant).tone })}
        <span><b>${fixed(each.retention, 3)}</b><span class="row-note">${interval(each.interval)}</span></span>
      </div>
    </td>
    <td data-label="Lower bound">
      <b>${fixed(each.lower_bound, 3)}</b>
      ${
        each.keeps
          ? html`<span class="row-note verdict verdict-good">${icons.check}keeps the bar</span>`
          : html`<span class="row-note">not confirmed</span>`
      }
    </td>
    <td data-label="Speed" class="cost">
      <b>${times(each.speed_up)}</b>
      <span class="row-note">${count(each.tokens_per_second)} tokens/s</span>${bar(each.speed_up / fastest)}
    </td>
    <td data-label="Weights" class="cost"><b>${bytes(each.bytes)}</b>${bar(each.bytes / largest)}</td>
  </tr>`;
  return table(`Variants that compress made of ${front.original}`, columns, front.variants.map(row), "found-variants");
}

function notes(front) {
  const texts = count(front.samples);
  return html`${
      front.remarks.length
        ? html`<ul class="remarks">
            ${front.remarks.map((remark) => html`<li>${unbroken(remark)}</li>`)}
          </ul>`
        : nothing
    }
    <p class="note">
      ${
        front.is_agreement
          ? html`Agreement compares a variant's outputs with the original's own, on ${texts} held-out texts: the run had no
            references, so it says nothing about quality.`
          : html`Retention is the variant's score divided by the original's, on ${texts} held-out pairs that had no part in
            ranking the variants.`
      }
      A variant keeps the bar if the one-sided 95 % lower bound is at least ${front.keep}. The triangle is the bar. Speed was
      measured in one run on the machine of the run. Weights are the smallest format.
    </p>`;
}

/** The command that made the front. The names of its files are not recorded. */
function commandOf(front) {
  const words = ["slimseq compress", `${front.task}/${front.original}`];
  words.push(front.is_agreement ? "--unlabelled TEXTS.jsonl" : "--data PAIRS.jsonl", `--keep ${front.keep}`);
  words.push(`--within ${front.within}`);
  if (front.aim !== "fastest") words.push(`--aim ${front.aim}`);
  if (!Object.hasOwn(METRICS, front.metric)) words.push("--scorer COMMAND");
  else if (front.metric !== DEFAULT_METRICS[front.task]) words.push(`--metric ${front.metric}`);
  return words.join(" ");
}

const command = (front) =>
  html`<div class="found-command">
    <code>${commandOf(front)}</code>${copyButton("Copy", () => commandOf(front))}
  </div>`;

/** What each part of the original costs in time, and what its removal would lose. Most time first. */
function structures(front, page) {
  const sorted = [...front.structures].sort((a, b) => b.seconds_share - a.seconds_share);
  const showsAll = page.showsAll.has(front.digest);
  const shown = showsAll ? sorted : sorted.slice(0, FIRST_STRUCTURES);
  const [mostTime, mostLoss] = ["seconds_share", "loss"].map((field) => Math.max(...sorted.map((each) => each[field])));
  const toggle = () => {
    if (showsAll) page.showsAll.delete(front.digest);
    else page.showsAll.add(front.digest);
    page.draw();
  };
  const id = `structures-${front.original}`;
  return html`<div class="panel">
    <div class="panel-top"><h4 id=${id}>Where the original's time goes</h4></div>
    <table class="worths" aria-labelledby=${id}>
      <thead>
        <tr>
          <th scope="col">Part</th>
          <th scope="col" class="number">Time</th>
          <th scope="col" class="number">Loss without it</th>
        </tr>
      </thead>
      <tbody>
        ${shown.map(
          (each) =>
            html`<tr>
              <th scope="row">${each.name}</th>
              <td class="number">${percent(each.seconds_share, 1)}${bar(each.seconds_share / mostTime)}</td>
              <td class="number tone-2">${fixed(each.loss, 3)}${bar(each.loss / mostLoss)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    ${
      sorted.length > FIRST_STRUCTURES
        ? html`<button type="button" class="quiet-button" aria-expanded=${showsAll} @click=${toggle}>
            ${showsAll ? `Show the first ${FIRST_STRUCTURES}` : `Show all ${sorted.length}`}
          </button>`
        : nothing
    }
    <p class="note">
      Time is the share of one text's time. Loss is the divergence from the original's outputs if this part is removed, in
      nats a token. What takes much time and loses little goes first.
    </p>
  </div>`;
}
