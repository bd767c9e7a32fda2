// Two arms beside each other: an always-valid interval, the tie, and the margin around it as a band.

import { html, svg } from "../vendor/lit-html/lit-html.js";

const HEIGHT = 58;
const RAIL = 20;
// The axis reaches so far to both sides of the tie. It changes rarely, so that a chart that grows does not jump.
const REACHES = [0.1, 0.25, 0.5, 1];

/** The first reach that shows all intervals and the margin. */
export function reachOf(intervals, tie, margin) {
  const farthest = Math.max(margin * 1.5, ...intervals.flat().map((each) => Math.abs(each - tie)));
  return REACHES.find((each) => each >= farthest * 0.999) ?? REACHES.at(-1);
}

/**
 * Draws a value with its interval against a tie. Decoration: the numbers and the verdict stand beside it.
 *
 * @param shown `{value, interval, tie, margin, reach}`.
 * @param format writes a value of the axis.
 */
export function comparisonPlot({ value, interval, tie, margin, reach }, format) {
  const x = (each) => `${(50 + 48 * Math.max(-1, Math.min(1, (each - tie) / reach))).toFixed(3)}%`;
  const width = `${((Math.min(margin, reach) / reach) * 96).toFixed(3)}%`;
  return html`<svg class="comparison" width="100%" height=${HEIGHT} aria-hidden="true">
    <rect class="comparison-band" x=${x(tie - margin)} width=${width} y="4" height=${RAIL * 2 - 8} rx="3"></rect>
    <line class="comparison-rail" x1="2%" x2="98%" y1=${RAIL} y2=${RAIL}></line>
    <line class="comparison-tie" x1="50%" x2="50%" y1="2" y2=${RAIL * 2 - 2}></line>
    <line class="comparison-interval" x1=${x(interval[0])} x2=${x(interval[1])} y1=${RAIL} y2=${RAIL}></line>
    <circle class="comparison-dot" cx=${x(value)} cy=${RAIL} r="6"></circle>
    ${[
      [-1, "start"],
      [0, "middle"],
      [1, "end"],
    ].map(
      ([side, anchor]) =>
        svg`<text class="tick" x=${x(tie + side * reach)} y=${HEIGHT - 3} text-anchor=${anchor}>${format(tie + side * reach)}</text>`,
    )}
  </svg>`;
}
