// One evaluation: its progress, and its results when it has succeeded.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { ProblemError, getJson, remove } from "../api.js";
import { date, duration, percent } from "../format.js";
import { besides, taskName } from "../languages.js";
import { loading, marks, problem, shareButton } from "../parts.js";
import { link } from "../route.js";
import { samplesOf, statusMark } from "./evaluations.js";
import { found } from "./results.js";

const PERIOD_MS = 1000;
const SAMPLES_A_PAGE = 10;

export function evaluation(container, { parts }) {
  const id = parts[0];
  let timer = null;
  let isClosed = false;
  const draw = () => !isClosed && render(template(page, { cancel, more: () => more().catch(fail) }), container);
  const page = { id, samples: null, marks: new Map(), showsDifferences: true, draw };
  const fail = (error) => {
    page.error = error;
    draw();
  };
  const read = async () => {
    try {
      page.job = await getJson(`/evaluations/${encodeURIComponent(id)}`);
      page.error = null;
      if (isClosed) return;
      if (["queued", "running"].includes(page.job.status)) timer = setTimeout(read, PERIOD_MS);
      else if (page.job.status === "succeeded") await more();
      draw();
    } catch (error) {
      fail(error);
    }
  };
  const cancel = async () => {
    clearTimeout(timer);
    // An evaluation that has ended meanwhile is deleted: there is nothing left to read.
    const show = (job) => {
      page.job = job;
      draw();
    };
    await remove(`/evaluations/${encodeURIComponent(id)}`).then(show, fail);
  };
  // The outputs, a page at a time.
  const more = async () => {
    const start = page.samples?.next ?? 0;
    const path = `/evaluations/${encodeURIComponent(id)}/samples?start=${start}&limit=${SAMPLES_A_PAGE}`;
    const { samples, next } = await getJson(path);
    page.samples = { samples: [...(page.samples?.samples ?? []), ...samples], next };
    draw();
  };
  render(loading(5), container);
  getJson("/variants")
    .then(({ variants }) => (page.variants = variants))
    .catch(() => (page.variants = []))
    .finally(read);
  return () => {
    isClosed = true;
    clearTimeout(timer);
  };
}

function template(page, actions) {
  const { job, error } = page;
  const crumbs = html`<p class="crumbs">
    <a href=${link(["evaluations"])}>Evaluations</a> / <span>${page.id.slice(0, 8)}</span>
  </p>`;
  if (!job) return html`${crumbs}${problem(error)}`;
  page.marks = marks(besides(page.variants, { ...job, names: job.variants }));
  const isActive = ["queued", "running"].includes(job.status);
  return html`${crumbs}
    <div class="heading">
      <div>
        <h1>${job.variants.join(", ")}</h1>
        <p class="lead">
          ${taskName(job)}, ${isActive ? "at most " : ""}${samplesOf(job)},
          ${date(job.created_at)}
        </p>
      </div>
      ${shareButton()}
    </div>
    <div class="job-state" aria-live="polite">
      ${statusMark(job)} ${isActive ? progress(job, actions.cancel) : took(job)}
    </div>
    ${error ? problem(error) : nothing} ${job.error ? problem(new ProblemError(job.error)) : nothing}
    ${found(page, actions.more)}`;
}

/** How long a job ran. One that was cancelled in the queue did not run. */
const took = ({ started_at: start, ended_at: end }) =>
  start && end ? html`<span class="soft">after ${duration((new Date(end) - new Date(start)) / 1000)}</span>` : nothing;

const progress = (job, cancel) => html`
  <progress max="1" .value=${job.progress} aria-label="Progress">${percent(job.progress)}</progress>
  <button type="button" class="secondary" @click=${cancel}>Cancel</button>
`;
