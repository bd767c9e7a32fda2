import { html, render } from "../vendor/lit-html/lit-html.js";
export function experiment(container) { render(html`<h1>experiment</h1>`, container); }
