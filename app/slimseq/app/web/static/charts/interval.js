// A value with its interval on a small scale, for a row of a table.

import { html, svg } from "../vendor/lit-html/lit-html.js";
import { fixed, interval } from "../format.js";

const WIDTH = 150;
const HEIGHT = 22;

/** The common domain of several intervals, which includes 1. */
export function commonDomain(pairs) {
  const values = pairs.filter(Boolean).flat();
  const [low, high] = [Math.min(1, ...values), Math.max(1, ...values)];
  const margin = (high - low) * 0.06 || 0.01;
  return [low - margin, high + margin];
}

/** Draws a value, its interval, the line at 1 and the gate's limit. Decoration: the numbers stand beside it. */
export function intervalBar(value, pair, domain, { limit = null, tone = 0, at = 1 } = {}) {
  const x = (each) => 4 + ((each - domain[0]) / (domain[1] - domain[0])) * (WIDTH - 8);
  const middle = HEIGHT / 2;
  return html`<svg
    class="interval tone-${tone}"
    viewBox="0 0 ${WIDTH} ${HEIGHT}"
    width=${WIDTH}
    height=${HEIGHT}
    aria-hidden="true">
    <line class="interval-rail" x1="0" x2=${WIDTH} y1=${middle} y2=${middle}></line>
    ${at === null ? "" : svg`<line class="interval-one" x1=${x(at)} x2=${x(at)} y1="2" y2=${HEIGHT - 2}></line>`}
    ${limit === null ? "" : svg`<path class="interval-limit" d="M${x(limit)} ${HEIGHT - 5}l4 5h-8z"></path>`}
    ${pair ? svg`<line class="interval-line" x1=${x(pair[0])} x2=${x(pair[1])} y1=${middle} y2=${middle}></line>` : ""}
    <circle class="interval-dot" cx=${x(value)} cy=${middle} r="4.5"></circle>
  </svg>`;
}

/** A value with its interval, drawn and in numbers. `options` are those of `intervalBar`, and `decimals`. */
export function drawnInterval(value, pair, domain, { decimals = 3, ...options } = {}) {
  return html`<div class="with-interval">
    ${intervalBar(value, pair, domain, options)}
    <span><b>${fixed(value, decimals)}</b> <span class="soft">${interval(pair, decimals)}</span></span>
  </div>`;
}
