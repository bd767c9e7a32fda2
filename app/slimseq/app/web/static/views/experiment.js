// One experiment: what each arm has shown so far, and whether one is ahead.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { getJson, postJson } from "../api.js";
import { drawnInterval } from "../charts/interval.js";
import { TASKS, count, date, isNumber, milliseconds, percent } from "../format.js";
import { loading, markIcon, marks, problem, shareButton } from "../parts.js";
import { link } from "../route.js";

const PERIOD_MS = 5000;
// What an arm may have shown, each with an interval that is valid at any time.
const MEASURES = { rating: "Rating", wins: "Share of wins", agreement: "Agreement with the base model" };

export function experiment(container, { parts: [id] }) {
  let timer = null;
  let isClosed = false;
  const page = { id, variants: [] };
  const draw = () => !isClosed && render(template(page, stop), container);
  const read = async () => {
    clearTimeout(timer);
    try {
      page.experiment = await getJson(`/experiments/${encodeURIComponent(id)}`);
      page.error = null;
      if (page.experiment.status === "running" && !isClosed) timer = setTimeout(read, PERIOD_MS);
    } catch (error) {
      page.error = error;
    }
    draw();
  };
  const stop = async () => {
    await postJson(`/experiments/${encodeURIComponent(id)}/stop`, {}).catch((error) => (page.error = error));
    if (page.error) draw();
    else await read();
  };
  render(loading(5), container);
  getJson("/variants")
    .then(({ variants }) => (page.variants = variants))
    .catch(() => {})
    .finally(read);
  return () => {
    isClosed = true;
    clearTimeout(timer);
  };
}

function template(page, stop) {
  const { experiment: shown, error } = page;
  const crumbs = html`<p class="crumbs">
    <a href=${link(["experiments"])}>Experiments</a> / <span>${page.id.slice(0, 8)}</span>
  </p>`;
  if (!shown) return html`${crumbs}${problem(error)}`;
  page.marks = marks(page.variants.filter((each) => each.task === shown.task));
  return html`${crumbs}
    <div class="heading">
      <div>
        <h1>${shown.name}</h1>
        <p class="lead">${TASKS[shown.task]}, started ${date(shown.created_at)}, margin ${shown.margin}</p>
      </div>
      ${shareButton()}
    </div>
    <div class="job-state">
      <span class="status status-${shown.status}"
        ><span class="status-dot" aria-hidden="true"></span>${shown.status}</span
      >
      ${shown.status === "running" ? html`<button type="button" class="secondary" @click=${stop}>Stop</button>` : nothing}
    </div>
    ${error ? problem(error) : nothing}
    ${shown.verdict ? html`<p class="verdict-words" role="status">${shown.verdict}</p>` : nothing}
    ${traffic(page)}${Object.entries(MEASURES).map(([key, title]) => measure(page, key, title))}`;
}

const name = (page, variant) =>
  html`<span class="named">${page.marks.has(variant) ? markIcon(page.marks.get(variant)) : nothing}${variant}</span>`;

function traffic(page) {
  const { arms } = page.experiment;
  const all = arms.reduce((sum, arm) => sum + arm.weight, 0);
  return html`<section>
    <h2>Traffic</h2>
    <div class="table-scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Arm</th>
            <th scope="col" class="number">Share</th>
            <th scope="col" class="number">Requests</th>
            <th scope="col" class="number">Errors</th>
            <th scope="col" class="number">p50</th>
            <th scope="col" class="number">p95</th>
          </tr>
        </thead>
        <tbody>
          ${arms.map(
            (arm) =>
              html`<tr>
                <th scope="row">${name(page, arm.variant)}</th>
                <td class="number">${percent(arm.weight / all)}</td>
                <td class="number"><b>${count(arm.requests)}</b></td>
                <td class="number">${count(arm.errors)}</td>
                <td class="number">${milliseconds(arm.latency_ms?.p50)}</td>
                <td class="number">${milliseconds(arm.latency_ms?.p95)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

function measure(page, key, title) {
  const arms = page.experiment.arms.filter((arm) => isNumber(arm[key]?.value));
  if (!arms.length) return nothing;
  const tone = (arm) => page.marks.get(arm.variant)?.tone ?? 0;
  const at = key === "wins" ? 0.5 : null;
  return html`<section>
    <h2>${title}</h2>
    <div class="table-scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Arm</th>
            <th scope="col">Mean, with an interval that is valid at any time</th>
            <th scope="col" class="number">Samples</th>
          </tr>
        </thead>
        <tbody>
          ${arms.map(
            (arm) =>
              html`<tr>
                <th scope="row">${name(page, arm.variant)}</th>
                <td>${drawnInterval(arm[key].value, arm[key].interval, [0, 1], { tone: tone(arm), at })}</td>
                <td class="number">${count(arm[key].samples)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}
