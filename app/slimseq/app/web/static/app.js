// Starts the page: navigation, theme, and the view that the address names.

import { html, nothing, render } from "./vendor/lit-html/lit-html.js";
import { icons } from "./icons.js";
import { heading } from "./parts.js";
import { currentRoute } from "./route.js";
import { evaluations } from "./views/evaluations.js";
import { evaluation } from "./views/evaluation.js";
import { experiments } from "./views/experiments.js";
import { experiment } from "./views/experiment.js";
import { live } from "./views/live.js";
import { playground } from "./views/playground.js";
import { variant } from "./views/variant.js";
import { variants } from "./views/variants.js";

// A view draws into an element, and returns a function that ends its requests and timers.
const VIEWS = [
  { name: "", label: "Playground", icon: "playground", list: playground },
  { name: "variants", label: "Variants", icon: "variants", list: variants, detail: variant },
  { name: "live", label: "Live", icon: "live", list: live },
  { name: "evaluations", label: "Evaluations", icon: "evaluations", list: evaluations, detail: evaluation },
  { name: "experiments", label: "Experiments", icon: "experiments", list: experiments, detail: experiment },
];

const main = document.getElementById("main");
const announcer = document.getElementById("announcer");
let close = () => {};

function drawNavigation(current) {
  const links = VIEWS.map(
    (view) =>
      html`<a href="#/${view.name}" aria-current=${view.name === current ? "page" : nothing}>
        ${icons[view.icon]}<span>${view.label}</span>
      </a>`,
  );
  render(links, document.getElementById("nav"));
}

const notFound = () =>
  html`${heading("Page not found", html`Nothing is at <code>${location.hash}</code>.`)}<a class="secondary" href="#/"
      >To the playground</a
    >`;

function show({ isFirst = false } = {}) {
  const { parts, query } = currentRoute();
  const view = VIEWS.find((each) => each.name === (parts[0] ?? ""));
  const draw = parts.length > 1 ? view?.detail : view?.list;
  close();
  const container = document.createElement("div");
  container.className = "view";
  main.replaceChildren(container);
  drawNavigation(view?.name);
  window.scrollTo(0, 0);
  if (!draw) {
    document.title = "Not found · Slimseq";
    render(notFound(), container);
    close = () => {};
  } else {
    document.title = [...parts.slice(1).reverse(), view.label, "Slimseq"].join(" · ");
    close = draw(container, { parts: parts.slice(1), query }) ?? (() => {});
  }
  if (!isFirst) {
    main.focus({ preventScroll: true });
    announcer.textContent = document.title;
  }
}

const THEMES = { "": "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };

function drawTheme() {
  const theme = document.documentElement.dataset.theme ?? "";
  const button = document.getElementById("theme");
  button.setAttribute("aria-label", THEMES[theme]);
  button.title = THEMES[theme];
  render(icons[`theme-${theme || "system"}`], button);
}

function switchTheme() {
  const root = document.documentElement;
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try {
    if (next) localStorage.setItem("slimseq-theme", next);
    else localStorage.removeItem("slimseq-theme");
  } catch {
    // Storage is blocked: the choice lasts until the page is left.
  }
  drawTheme();
  announcer.textContent = THEMES[next];
  window.dispatchEvent(new Event("theme"));
}

// On a phone a table is a list of cards, in which each cell has the title of its column.
new MutationObserver(() => {
  for (const cell of main.querySelectorAll("td:not([data-label])"))
    cell.dataset.label = cell.closest("table").tHead.rows[0].cells[cell.cellIndex].textContent;
}).observe(main, { childList: true, subtree: true });

document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.dispatchEvent(new Event("theme")));
window.addEventListener("hashchange", () => show());
drawTheme();
show({ isFirst: true });
