// The plot of quality against cost: a mark for each variant, its interval, and the Pareto front.

import { html, svg } from "../vendor/lit-html/lit-html.js";
import { fixed } from "../format.js";
import { markIcon, markPath } from "../parts.js";
import { linear, logarithmic, textWidth } from "./scale.js";

const MARGIN = { top: 18, right: 28, bottom: 46, left: 56 };
const LABEL_HEIGHT = 18;
// As in the style sheet.
const LABEL_FONT = "600 13px";
const TICK_FONT = "12px";
const MIN_TICK_GAP = 10;
// The share of a text that is before its position.
const SHARE_BEFORE = { start: 0, middle: 0.5, end: 1 };
// Marks are drawn larger than in texts: so many times. A mark of scale 1 reaches so far from its middle.
const MARK_SCALE = 1.3;
const MARK_REACH = 6.2;
// The gap between a mark and the ring around it.
const RING_GAP = 4;
const TIP_LINE = 19;
const TIP_CHARACTER = 6.3;

/**
 * The points that no other point beats in both x and y.
 *
 * @param points `{x, y}`; larger y is better.
 * @param moreIsBetter whether larger x is better.
 * @returns the points in the order of x.
 */
function paretoFront(points, moreIsBetter) {
  const cost = (point) => (moreIsBetter ? -point.x : point.x);
  const front = points.filter(
    (point) =>
      !points.some(
        (other) => cost(other) <= cost(point) && other.y >= point.y && (cost(other) < cost(point) || other.y > point.y),
      ),
  );
  return front.sort((a, b) => a.x - b.x);
}

/**
 * Places the labels beside their marks, so that none meets a mark, an interval, another label or a `taken` box.
 *
 * @returns a label for each point, or null where they do not all fit: a narrow plot, or long names.
 */
function placeLabels(points, bounds, taken) {
  const marks = [...markBoxes(points), ...taken];
  let order = points;
  // A label that finds no place is the first to be placed in the next attempt.
  for (let attempt = 0; attempt <= points.length; attempt += 1) {
    const placed = new Map();
    const failed = order.find((point) => !placeLabel(point, placed, marks, bounds));
    if (!failed) return points.map((point) => placed.get(point.name));
    order = [failed, ...order.filter((point) => point !== failed)];
  }
  return null;
}

/** What marks and intervals cover. */
const markBoxes = (points) =>
  points.flatMap((point) => [
    box(point.px - point.reach, point.py - point.reach, 2 * point.reach, 2 * point.reach),
    box(point.px - 5, point.top, 10, point.bottom - point.top),
  ]);

/** Places one label at the first side of its mark that is free. Returns whether there is one. */
function placeLabel(point, placed, marks, bounds) {
  const long = textWidth(point.name, LABEL_FONT) + 4;
  const [beside, diagonal, above] = [point.reach + 5, point.reach + 1, point.reach + 6];
  const free = [
    { x: point.px + beside, y: point.py, anchor: "start" },
    { x: point.px - beside, y: point.py, anchor: "end" },
    { x: point.px + diagonal, y: point.py - above, anchor: "start" },
    { x: point.px + diagonal, y: point.py + above, anchor: "start" },
    { x: point.px - diagonal, y: point.py - above, anchor: "end" },
    { x: point.px - diagonal, y: point.py + above, anchor: "end" },
    { x: point.px, y: point.top - 13, anchor: "middle" },
    { x: point.px, y: point.bottom + 13, anchor: "middle" },
  ]
    .map((side) => ({ ...side, box: box(side.x - long * SHARE_BEFORE[side.anchor], side.y - LABEL_HEIGHT / 2, long, LABEL_HEIGHT) }))
    .find(
      (side) =>
        isWithin(side.box, bounds) &&
        !marks.some((other) => meet(side.box, other)) &&
        ![...placed.values()].some((other) => meet(side.box, other.box)),
    );
  if (!free) return false;
  placed.set(point.name, free);
  return true;
}

/** Places the text of the bar at an end of its line where no mark is, or else at the first one. */
function placeBarText(text, at, points, [left, right]) {
  const long = textWidth(text, TICK_FONT);
  const places = [
    { x: right, y: at - 9, anchor: "end", box: box(right - long, at - 18, long, 36) },
    { x: left + 6, y: at - 9, anchor: "start", box: box(left, at - 18, long + 6, 36) },
  ];
  const marks = markBoxes(points);
  return places.find((place) => !marks.some((mark) => meet(mark, place.box))) ?? places[0];
}

const box = (left, top, width, height) => ({ left, top, right: left + width, bottom: top + height });
const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const isWithin = (a, b) => a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;

/** The ticks whose texts have space beside each other: all, or every second, or every third. */
function spacedTicks(scale, format) {
  const isSpaced = (ticks) =>
    ticks.every((tick, index) => {
      if (index === 0) return true;
      const [before, own] = [ticks[index - 1], tick].map((each) => textWidth(format(each), TICK_FONT));
      return scale.at(tick) - scale.at(ticks[index - 1]) >= (before + own) / 2 + MIN_TICK_GAP;
    });
  for (let step = 1; step < scale.ticks.length; step += 1) {
    const ticks = scale.ticks.filter((_, index) => index % step === 0);
    if (isSpaced(ticks)) return ticks;
  }
  return scale.ticks.slice(0, 1);
}

/**
 * Draws the plot.
 *
 * @param points `{name, x, y, interval, mark, href, facts}`; `facts` are what is said of the highlighted one. Optional:
 *   `scale` of the mark, `isHollow` (by default points behind the front are), `isChosen` draws a ring.
 * @param axis `{label, format, moreIsBetter}` of x.
 * @param size `{width, height}` in pixels.
 * @param lit name of the highlighted variant, and `light` which sets it.
 * @param options `label` of y, and `bar`: `{value, text}` of a horizontal line.
 */
export function frontPlot(points, axis, { width, height }, lit, light, { label = "Retention", bar = null } = {}) {
  const xs = points.map((point) => point.x);
  const ys = [...points.flatMap((point) => point.interval ?? [point.y]), ...(bar ? [bar.value] : [])];
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const x = logarithmic([Math.min(...xs) / 1.35, Math.max(...xs) * 1.5], [MARGIN.left, right]);
  const margin = (Math.max(...ys) - Math.min(...ys)) * 0.06 || 0.01;
  const y = linear([Math.min(...ys) - margin, Math.max(...ys) + margin], [bottom, MARGIN.top], 5);
  const placed = points.map((point) => ({
    ...point,
    px: x.at(point.x),
    py: y.at(point.y),
    top: y.at(point.interval?.[1] ?? point.y),
    bottom: y.at(point.interval?.[0] ?? point.y),
    scale: point.scale ?? MARK_SCALE,
    reach: MARK_REACH * (point.scale ?? MARK_SCALE) + (point.isChosen ? RING_GAP : 0),
  }));
  const barText = bar && placeBarText(bar.text, y.at(bar.value), placed, [MARGIN.left, right]);
  const bounds = { left: MARGIN.left, right: width - 2, top: MARGIN.top - 2, bottom };
  const labels = placeLabels(placed, bounds, barText ? [barText.box] : []);
  const front = paretoFront(placed, axis.moreIsBetter);
  const onFront = new Set(front.map((point) => point.name));
  const isBehind = (point) => point.isHollow ?? !onFront.has(point.name);
  const decimals = y.step < 0.01 ? 3 : 2;
  return html`<svg
    class="plot"
    width=${width}
    height=${height}
    viewBox="0 0 ${width} ${height}"
    role="group"
    aria-label="${label} against ${axis.label}">
    <g aria-hidden="true">
      ${y.ticks.map(
        (
          tick,
        ) => svg`<line class=${Math.abs(tick - 1) < 1e-9 ? "grid grid-one" : "grid"} x1=${MARGIN.left} x2=${right} y1=${y.at(tick)} y2=${y.at(tick)}></line>
        <text class="tick" x=${MARGIN.left - 10} y=${y.at(tick)} dy="0.32em" text-anchor="end">${fixed(tick, decimals)}</text>`,
      )}
      ${spacedTicks(x, axis.format).map(
        (tick) => svg`<line class="tick-line" x1=${x.at(tick)} x2=${x.at(tick)} y1=${bottom} y2=${bottom + 5}></line>
        <text class="tick" x=${x.at(tick)} y=${bottom + 20} text-anchor="middle">${axis.format(tick)}</text>`,
      )}
      <line class="axis" x1=${MARGIN.left} x2=${right} y1=${bottom} y2=${bottom}></line>
      <text
        class="axis-label"
        x=${axis.moreIsBetter ? right : MARGIN.left}
        y=${height - 6}
        text-anchor=${axis.moreIsBetter ? "end" : "start"}>
        ${axis.moreIsBetter ? `${axis.label}, more is better →` : `← ${axis.label}, less is better`}
      </text>
      <text class="axis-label" x=${MARGIN.left - 46} y=${10}>${label}</text>
      ${bar ? svg`<line class="bar-line" x1=${MARGIN.left} x2=${right} y1=${y.at(bar.value)} y2=${y.at(bar.value)}></line>
        <text class="bar-text" x=${barText.x} y=${barText.y} text-anchor=${barText.anchor} dy="0.32em">${bar.text}</text>` : ""}
      <polyline class="front" points=${front.map((point) => `${point.px},${point.py}`).join(" ")}></polyline>
      ${placed.map(
        (point) => svg`<g class="whisker tone-${point.mark.tone} ${lit && lit !== point.name ? "dim" : ""}">
        <line x1=${point.px} x2=${point.px} y1=${point.top} y2=${point.bottom}></line>
        <line x1=${point.px - 4} x2=${point.px + 4} y1=${point.top} y2=${point.top}></line>
        <line x1=${point.px - 4} x2=${point.px + 4} y1=${point.bottom} y2=${point.bottom}></line></g>`,
      )}
    </g>
    ${placed.map(
      (
        point,
        index,
      ) => svg`<a class="point tone-${point.mark.tone} ${isBehind(point) ? "behind" : ""} ${lit && lit !== point.name ? "dim" : ""}" href=${point.href}
        aria-label="${point.name}: ${point.facts.join(", ")}${onFront.has(point.name) ? ", on the front" : ""}" @pointerenter=${() => light(point.name)} @pointerleave=${() => light(null)} @focus=${() => light(point.name)} @blur=${() => light(null)}>
        <circle class="target" cx=${point.px} cy=${point.py} r="22"></circle>
        ${point.isChosen ? svg`<circle class="ring" cx=${point.px} cy=${point.py} r=${point.reach}></circle>` : ""}
        <g class="dot" transform="translate(${point.px} ${point.py}) scale(${point.scale})">${markPath(point.mark)}</g>
        ${labels ? svg`<text class="point-label" x=${labels[index].x} y=${labels[index].y} dy="0.35em" text-anchor=${labels[index].anchor}>${point.name}</text>` : ""}
      </a>`,
    )}
    ${tip(
      placed.find((point) => point.name === lit),
      width,
    )}
  </svg>
  ${labels ? "" : names(placed)}`;
}

/** The names of the marks, where the plot has no space for them. A screen reader reads those of the links. */
const names = (points) =>
  html`<p class="legend plot-names" aria-hidden="true">
    ${points.map((point) => html`<span>${markIcon(point.mark)}${point.name}</span>`)}
  </p>`;

/** The numbers of the highlighted point, beside it on the side with more space. A screen reader reads its link. */
function tip(point, width) {
  if (!point) return "";
  const long = Math.max(...point.facts.map((fact) => fact.length)) * TIP_CHARACTER + 24;
  const high = point.facts.length * TIP_LINE + 14;
  const left = Math.max(0, Math.min(width - long, point.px > width / 2 ? point.px - long - 18 : point.px + 18));
  const top = Math.max(0, point.py - high - 14);
  return svg`<g class="tip" aria-hidden="true">
    <rect x=${left} y=${top} width=${long} height=${high} rx="6"></rect>
    ${point.facts.map((fact, index) => svg`<text x=${left + 12} y=${top + 12 + index * TIP_LINE} dy="0.7em">${fact}</text>`)}
  </g>`;
}
