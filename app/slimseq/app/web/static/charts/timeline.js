// A small chart of the last minutes, drawn by uPlot on a canvas. The number above it says the same in words.

import uPlot from "../vendor/uplot/dist/uPlot.esm.js";

const HEIGHT = 132;
// Without data, the axis still shows this much time.
const SHOWN_SECONDS = 120;
const cursor = { sync: { key: "live" }, points: { size: 6 }, y: false, drag: { x: false, y: false } };

/** A colour of the style sheet as the canvas needs it. `light-dark()` is resolved on an element. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** A time of the axis, with seconds. */
export const clockTime = (at) => new Date(at * 1000).toTimeString().slice(0, 8);

/** The time of a tick: hours and minutes, or seconds between two minutes. */
function clock(tick) {
  return tick % 60 === 0 ? clockTime(tick).slice(0, 5) : clockTime(tick).slice(5);
}

/**
 * One chart in an element. `lines` are `{name, tone, fill}`, `format` writes the values of the axis, and `point` is
 * called with the index of the reading at the pointer, null where there is none. All charts share the pointer.
 */
export class Timeline {
  constructor(element, lines, format, point) {
    Object.assign(this, { element, lines, format, point, data: [[], ...lines.map(() => [])] });
    this.redraw = () => this.build();
    window.addEventListener("theme", this.redraw);
    this.observer = new ResizeObserver(() => {
      if (element.clientWidth !== this.chart?.width) this.build();
    });
    this.observer.observe(element);
  }

  build() {
    this.chart?.destroy();
    const width = this.element.clientWidth;
    if (!width) return;
    const [ink, line] = [colour("--ink-3"), colour("--line")];
    const font = "11px system-ui, 'Noto Sans', sans-serif";
    const axis = { stroke: ink, font, ticks: { show: false } };
    this.chart = new uPlot(
      {
        width,
        height: HEIGHT,
        legend: { show: false },
        cursor,
        hooks: { setCursor: [(chart) => this.point(chart.cursor.idx ?? null)] },
        scales: {
          x: { range: () => this.shown() },
          y: { range: (_, low, high) => [0, Math.max(high * 1.15, this.format.least ?? 1)] },
        },
        axes: [
          { ...axis, size: 24, space: 44, grid: { show: false }, values: (_, ticks) => ticks.map(clock) },
          {
            ...axis,
            size: 58,
            space: 26,
            grid: { stroke: line, width: 1 },
            values: (_, ticks) => ticks.map((tick) => this.format.text(tick).replace(/\.0+(?!\d)/, "")),
          },
        ],
        series: [
          {},
          ...this.lines.map(({ name, tone, fill, dash }) => ({
            label: name,
            stroke: colour(tone),
            width: 2,
            dash,
            spanGaps: true,
            points: { show: false },
            fill: fill ? colour(fill) : undefined,
          })),
        ],
      },
      this.data,
      this.element,
    );
  }

  /** The times that the axis shows. uPlot's own range of a single reading is two days. */
  shown() {
    const times = this.data[0];
    const end = times.at(-1) ?? Date.now() / 1000;
    return [Math.min(times[0] ?? end, end - SHOWN_SECONDS), end];
  }

  /** Shows other data: the times in seconds, and the values of each line. */
  update(data) {
    this.data = data;
    this.chart?.setData(data);
  }

  close() {
    window.removeEventListener("theme", this.redraw);
    this.observer.disconnect();
    this.chart?.destroy();
  }
}
