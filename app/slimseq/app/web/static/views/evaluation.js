import { html, render } from "../vendor/lit-html/lit-html.js";
export function evaluation(container) { render(html`<h1>evaluation</h1>`, container); }
