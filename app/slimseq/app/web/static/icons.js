// Line icons, 20 by 20. They are decoration: the text beside them names what they mean.

import { svg, html } from "./vendor/lit-html/lit-html.js";

const icon = (paths) =>
  html`<svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
    ${paths}
  </svg>`;

export const icons = {
  playground: icon(svg`<path d="M3 4.5h6v11H3zM11 4.5h6v11h-6zM5 8h2M5 11h2M13 8h2M13 11h2"/>`),
  variants: icon(
    svg`<path d="M3 16.5V3.5M3 16.5h14M6 13c1-5 4-7 10-7.5"/><circle cx="7" cy="10.2" r="1.4"/><circle cx="12.5" cy="6.3" r="1.4"/>`,
  ),
  live: icon(svg`<path d="M2.5 10.5h3l2.2-6 4 11 2.3-5h3.5"/>`),
  evaluations: icon(svg`<path d="M3.5 5.5l1.5 1.5 2.5-3M3.5 12.5L5 14l2.5-3M10.5 6h6M10.5 13h6"/>`),
  experiments: icon(svg`<path d="M3 10h4c3 0 3-5 6-5h4M7 10c3 0 3 5 6 5h4M15 3l2 2-2 2M15 13l2 2-2 2"/>`),
  "theme-system": icon(svg`<circle cx="10" cy="10" r="6.5"/><path class="filled" d="M10 3.5a6.5 6.5 0 0 1 0 13z"/>`),
  "theme-light": icon(
    svg`<circle cx="10" cy="10" r="3.4"/><path d="M10 2.5v1.8M10 15.7v1.8M2.5 10h1.8M15.7 10h1.8M4.7 4.7l1.3 1.3M14 14l1.3 1.3M4.7 15.3L6 14M14 6l1.3-1.3"/>`,
  ),
  "theme-dark": icon(svg`<path d="M16 11.8A6.5 6.5 0 0 1 8.2 4a6.5 6.5 0 1 0 7.8 7.8z"/>`),
  play: icon(svg`<path class="filled" d="M6 4.2v11.6L15.5 10z"/>`),
  stop: icon(svg`<rect class="filled" x="5" y="5" width="10" height="10" rx="1.5"/>`),
  link: icon(
    svg`<path d="M8.5 11.5a3 3 0 0 0 4.3 0l2.6-2.6a3 3 0 0 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-2.6 2.6a3 3 0 0 0 4.3 4.3l1-1"/>`,
  ),
  copy: icon(svg`<rect x="7" y="7" width="9" height="9.500" rx="1.5"/><path d="M13 7V5a1.500 1.500 0 0 0-1.500-1.500H5A1.500 1.500 0 0 0 3.500 5v7A1.500 1.500 0 0 0 5 13.500h2"/>`),
  up: icon(
    svg`<path d="M6 16.5h7.2c1 0 1.6-.6 1.9-1.5l1.2-4.4c.3-1.1-.4-2.1-1.6-2.1h-3.2l.6-3.3c.2-1.2-1.6-2-2.3-.8L6.5 9M3.5 9H6v7.5H3.5z"/>`,
  ),
  down: icon(
    svg`<path d="M14 3.5H6.8c-1 0-1.6.6-1.9 1.5L3.7 9.4c-.3 1.1.4 2.1 1.6 2.1h3.2l-.6 3.3c-.2 1.2 1.6 2 2.3.8l3.3-4.6M16.5 11H14V3.5h2.5z"/>`,
  ),
  warning: icon(svg`<path d="M10 3.5l7 12.5H3zM10 8.5v3.5M10 14v.2"/>`),
  check: icon(svg`<path d="M4 10.5l4 4 8-9"/>`),
  cross: icon(svg`<path d="M5 5l10 10M15 5L5 15"/>`),
};
