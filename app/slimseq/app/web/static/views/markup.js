// How the playground shows outputs that have markup: as text, with the markup in another colour, and with a line that
// says whether the structure stayed. Nothing that a model writes becomes HTML.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { icons } from "../icons.js";
import { compareStructure, markupOf } from "../text/structure.js";

// A line has so many kinds of markup.
const MAX_NAMES = 12;

export const outputClass = (page) => (page.outputFormat === "text" ? "output-text" : "output-text source");

/** Returns a function that draws an output, or its part from a start to an end. */
export function marker(page, text) {
  const ranges = markupOf(page.outputFormat, text);
  return (from = 0, to = text.length) => {
    const drawn = [];
    let position = from;
    for (const { start, end } of ranges) {
      if (end <= position || start >= to) continue;
      drawn.push(text.slice(position, start));
      position = Math.min(end, to);
      drawn.push(html`<span class="markup">${text.slice(Math.max(start, from), position)}</span>`);
    }
    return [...drawn, text.slice(position, to)];
  };
}

/** Says of a complete output whether it has the structure of the text. */
export function structureLine(page, result) {
  if (page.outputFormat === "text" || result?.state !== "done") return nothing;
  const { counts, differing } = compareStructure(page.outputFormat, page.text, result.text);
  if (differing.length)
    return html`<p class="structure" lang="en">
      ${icons.warning}<span
        ><b>Structure differs.</b> ${listed(differing, ([name, wanted, found]) => html`<code>${name}</code> ${wanted} in the text, ${found} here`)}.</span
      >
    </p>`;
  if (!counts.length) return nothing;
  return html`<p class="structure" lang="en">
    ${icons.check}<span
      ><b>Same structure:</b> ${listed(counts, ([name, count]) => html`<span class="nowrap">${name}${count > 1 ? ` × ${count}` : nothing}</span>`)}.
      Whether the tags are around the right words is not checked.</span
    >
  </p>`;
}

function listed(items, draw) {
  const more = items.length - MAX_NAMES;
  const drawn = items.slice(0, MAX_NAMES).map((item, index) => html`${index ? ", " : nothing}${draw(item)}`);
  return more > 0 ? html`${drawn} and ${more} more` : drawn;
}
