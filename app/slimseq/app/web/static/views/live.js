import { html, render } from "../vendor/lit-html/lit-html.js";
export function live(container) { render(html`<h1>live</h1>`, container); }
