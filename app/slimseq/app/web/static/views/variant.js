import { html, render } from "../vendor/lit-html/lit-html.js";
export function variant(container) { render(html`<h1>variant</h1>`, container); }
