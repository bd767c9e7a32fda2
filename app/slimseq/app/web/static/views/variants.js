import { html, render } from "../vendor/lit-html/lit-html.js";
export function variants(container) { render(html`<h1>variants</h1>`, container); }
