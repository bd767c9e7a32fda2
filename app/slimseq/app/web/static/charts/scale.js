// Scales of charts: from values to pixels, with round ticks.

/** A linear scale with about `wanted` round ticks inside of the domain. */
export function linear([low, high], [start, end], wanted = 5) {
  const span = high - low || 1;
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((each) => each * power >= raw * 0.99) * power;
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= high + step * 1e-9; tick += 1) ticks.push(tick * step);
  return { at: (value) => start + ((value - low) / span) * (end - start), ticks, step };
}

/** A logarithmic scale with ticks at 1, 2 and 5 times the powers of ten. */
export function logarithmic([low, high], [start, end]) {
  const [from, to] = [Math.log(low), Math.log(high)];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const digit of [1, 2, 5]) {
      const tick = digit * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return { at: (value) => start + ((Math.log(value) - from) / (to - from || 1)) * (end - start), ticks };
}

const measure = document.createElement("canvas").getContext("2d");

/** The width of a text in pixels. `font` has weight and size, such as `600 13px`. */
export function textWidth(text, font) {
  measure.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  return measure.measureText(text).width;
}

/** Calls `draw` with the width of an element now and whenever it changes. Returns a function that ends it. */
export function onWidth(element, draw) {
  let last = 0;
  const observer = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width > 0 && width !== last) draw((last = width));
  });
  observer.observe(element);
  return () => observer.disconnect();
}
