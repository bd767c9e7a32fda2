import { html, render } from "../vendor/lit-html/lit-html.js";
export function evaluations(container) { render(html`<h1>evaluations</h1>`, container); }
