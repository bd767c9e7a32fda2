import { html, render } from "../vendor/lit-html/lit-html.js";
export function experiments(container) { render(html`<h1>experiments</h1>`, container); }
