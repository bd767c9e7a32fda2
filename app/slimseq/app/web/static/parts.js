// Small parts that several views use.

import { html, nothing, svg } from "./vendor/lit-html/lit-html.js";
import { icons } from "./icons.js";

/** An error, in the words of the service. */
export function problem(error, retry) {
  return html`<div class="problem" role="alert">
    <p class="problem-title">${error.title ?? "Something went wrong"}</p>
    <p>${error.message}</p>
    ${error.requestId ? html`<p class="small">Request ${error.requestId}</p>` : nothing}
    ${retry ? html`<button type="button" @click=${retry}>Try again</button>` : nothing}
  </div>`;
}

/** What is shown while a view loads: the shape of what will come. */
export const loading = (rows = 4) =>
  html`<div class="loading" role="status">
    <span class="visually-hidden">Loading</span>${Array.from({ length: rows }, () => html`<div class="bone"></div>`)}
  </div>`;

/** The head of a view. */
export const heading = (title, text, end = nothing) =>
  html`<div class="heading">
    <div>
      <h1>${title}</h1>
      ${text ? html`<p class="lead">${text}</p>` : nothing}
    </div>
    ${end}
  </div>`;

/** The columns of a table, by what is in them. */
export const WORDS = "";
export const NUMBERS = "number";

/**
 * A table that scrolls where it is wider than the page.
 *
 * @param label its name for screen readers.
 * @param columns `WORDS` or `NUMBERS` for the title of each column.
 * @param rows `tr` elements.
 * @param kind a class of the table.
 */
export const table = (label, columns, rows, kind = nothing) =>
  html`<div class="table-scroll" role="group" aria-label=${label} tabindex="0">
    <table class=${kind}>
      <thead>
        <tr>
          ${Object.entries(columns).map(([title, holds]) => html`<th scope="col" class=${holds || nothing}>${title}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`;

/** One of a few choices, as radio buttons that look like one control. */
export function segments(name, legend, options, chosen, choose) {
  return html`<fieldset class="segments">
    <legend class="visually-hidden">${legend}</legend>
    ${Object.entries(options).map(
      ([value, label]) =>
        html`<label>
          <input
            type="radio"
            name=${name}
            .value=${value}
            .checked=${value === chosen}
            @change=${() => choose(value)} />
          <span>${label}</span>
        </label>`,
    )}
  </fieldset>`;
}

/** The name of a variant with its mark. */
export const named = (mark, name) => html`<span class="named">${markIcon(mark)}${name}</span>`;

export const markIcon = (mark) =>
  html`<svg class="mark mark-${mark.tone}" viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true">
    ${markPath(mark)}
  </svg>`;

/** The shape of a mark around (0, 0). Shape and colour both tell variants apart. */
export const markPath = (mark) => svg`<path d=${SHAPES[mark.shape]}></path>`;

const SHAPES = [
  "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
  "M-4.5 -4.500h9v9h-9z",
  "M0 -6.200L6 0L0 6.200L-6 0z",
  "M0 -6L5.8 4.600H-5.800z",
  "M0 6L5.8 -4.600H-5.800z",
  "M-2 -5.600h4v3.600h3.600v4h-3.600v3.600h-4v-3.600h-3.600v-4h3.600z",
];

// Tones and shapes beside those of base models.
const KINDS_OF_MARKS = 5;

/**
 * Gives each variant of a list a mark: the base model ink and a circle, the others in the order of the list. The sixth
 * has the tone of the first, and another shape.
 */
export function marks(variants) {
  const others = variants.filter((each) => !isRoot(each));
  const found = new Map();
  for (const each of variants) {
    const index = others.indexOf(each);
    const repeats = Math.floor(index / KINDS_OF_MARKS);
    const mark = { tone: 1 + (index % KINDS_OF_MARKS), shape: 1 + ((index + repeats) % KINDS_OF_MARKS) };
    found.set(each.variant, isRoot(each) ? { tone: 0, shape: 0 } : mark);
  }
  return found;
}

export const isRoot = (variant) => variant.reference === null || variant.reference?.digest === variant.digest;

/** The verdict of a gate. */
export function gateMark(gate) {
  if (!gate || gate.verdict === "none") return html`<span class="soft">No gate</span>`;
  return gate.verdict === "passed"
    ? html`<span class="verdict verdict-good">${icons.check}Passed</span>`
    : html`<span class="verdict verdict-bad">${icons.cross}Rejected</span>`;
}

/**
 * An output with what differs from another one. The space around marked words is not marked.
 *
 * @param show draws a part of the output, from its start and end.
 */
export function difference(pieces, show = null) {
  let end = 0;
  return pieces.map(({ text, kind }, index) => {
    const [, before, marked, after] = /^(\s*)(.*?)(\s*)$/s.exec(text);
    const gap = pieces[index + 1]?.kind === "added" ? " " : "";
    if (kind === "removed")
      return marked ? html`<span class="removed">${before}<del>${marked}</del>${after || gap}</span>` : nothing;
    const start = end;
    end += text.length;
    if (kind === "same" || !marked) return show ? show(start, end) : text;
    const inner = show ? show(start + before.length, end - after.length) : marked;
    return html`${before}<ins>${inner}</ins>${after}`;
  });
}

const KINDS = {
  language: "Other language",
  length: "Length",
  repetition: "Repetition",
  truncated: "Cut off",
  unfinished: "Unfinished",
  lost: "Lost",
  number: "Number",
  date: "Date",
  untranslated: "Not translated",
};

/** The service's warnings about an output, and those that it had before it was generated once more. */
export function warningsOf({ warnings, repaired }) {
  if (!warnings?.length && !repaired?.length) return nothing;
  const kinds = repaired?.map((kind) => KINDS[kind] ?? kind).join(", ");
  return html`<ul class="warnings" lang="en" aria-label="Warnings">
    ${(warnings ?? []).map(
      ({ kind, detail }) => html`<li>${icons.warning}<span><b>${KINDS[kind] ?? kind}.</b> ${detail}</span></li>`,
    )}
    ${kinds ? html`<li class="repaired">${icons.check}<span><b>Repaired.</b> The first output had: ${kinds}.</span></li>` : nothing}
  </ul>`;
}

/** Why a variant is the default of its task, unless it is the usual one. */
export const whyDefault = ({ variant, default_reason: reason } = {}) =>
  reason && reason !== "usual default"
    ? html`<p class="note"><b>${variant}</b> is the default. Reason: ${reason}.</p>`
    : nothing;

/** Sets a field of `page`, which is true or false, and draws it anew. */
export function viewSwitch(page, field, label) {
  const change = (event) => {
    page[field] = event.target.checked;
    page.draw();
  };
  return html`<label class="switch"
    ><input type="checkbox" role="switch" .checked=${page[field]} @change=${change} />
    <span>${label}</span></label
  >`;
}

/** Shows or hides the differences from a reference. */
export const differencesSwitch = (page, reference) =>
  viewSwitch(page, "showsDifferences", `Mark what differs from ${reference}`);

/** Copies a text, and says so in the words `done`. Browsers allow it on this machine and over HTTPS alone. */
export function copyButton(label, text, { done = "Copied", blocked = "Select the text", icon = icons.copy } = {}) {
  const copy = async ({ currentTarget: button }) => {
    const say = (words) => (button.querySelector("span").textContent = words);
    try {
      await navigator.clipboard.writeText(text());
      say(done);
    } catch {
      say(blocked);
    }
    button.classList.add("said");
    document.getElementById("announcer").textContent = button.textContent;
    setTimeout(() => {
      say(label);
      button.classList.remove("said");
    }, 3000);
  };
  return html`<button type="button" class="quiet-button" @click=${copy}>${icon}<span .textContent=${label}></span></button>`;
}

/** Copies the address of the page. */
export const shareButton = (done = "Copied") =>
  copyButton("Copy link", () => location.href, { done, blocked: "Copy the address above", icon: icons.link });

/** A bar whose length is a share of the longest. Decoration: the number stands beside it. */
export const bar = (share, tone = "") =>
  html`<svg class="bar ${tone}" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
    <rect class="bar-rail" width="100" height="4"></rect>
    <rect class="bar-value" width=${Math.max(0, Math.min(100, (share || 0) * 100))} height="4"></rect>
  </svg>`;
