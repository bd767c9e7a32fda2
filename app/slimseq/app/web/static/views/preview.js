// An output with markup as its readers will see it: in a frame without scripts, without an origin and without requests.

import { html } from "../vendor/lit-html/lit-html.js";
import { marked } from "../vendor/marked/lib/marked.esm.js";

// The address of each document. To make another one would load the frame again whenever the view is drawn.
const addresses = new Map();
const MAX_ADDRESSES = 20;

export function preview(format, text, name) {
  const scheme = document.documentElement.dataset.theme ?? "light dark";
  const body = format === "markdown" ? marked.parse(text, { async: false }) : text;
  const page = `<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="${scheme}">${body}`;
  if (!addresses.has(page)) addresses.set(page, URL.createObjectURL(new Blob([page], { type: "text/html" })));
  if (addresses.size > MAX_ADDRESSES) {
    const [oldest, address] = addresses.entries().next().value;
    URL.revokeObjectURL(address);
    addresses.delete(oldest);
  }
  return html`<iframe class="preview" sandbox="" src=${addresses.get(page)} title="Preview of ${name}"></iframe>`;
}
