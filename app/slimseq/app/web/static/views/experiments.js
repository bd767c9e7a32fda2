// Experiments: a form that splits traffic between variants, and the list.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { getJson, offers, postJson } from "../api.js";
import { TASKS, ago, percent } from "../format.js";
import { heading, loading, markIcon, marks, problem, segments } from "../parts.js";
import { link } from "../route.js";

const HEADING = heading("Experiments", "Split live traffic between variants, and stop when the answer is known.");

export function experiments(container) {
  const page = new Experiments(container);
  page.open();
}

class Experiments {
  constructor(container) {
    Object.assign(this, { container, name: "", margin: 0.02, weights: new Map(), error: null });
  }

  async open() {
    render(html`${HEADING}${loading(5)}`, this.container);
    try {
      if (!(await offers("/experiments"))) {
        render(
          html`${HEADING}
            <p class="empty">This version of the service has no experiments.</p>`,
          this.container,
        );
        return;
      }
      const [{ variants }, { experiments: list }] = await Promise.all([getJson("/variants"), getJson("/experiments")]);
      Object.assign(this, { usable: variants.filter((each) => each.status !== "broken"), list });
      this.tasks = Object.fromEntries(
        Object.entries(TASKS).filter(([task]) => this.usable.some((each) => each.task === task)),
      );
      this.setTask(Object.keys(this.tasks)[0]);
    } catch (error) {
      render(html`${HEADING}${problem(error, () => this.open())}`, this.container);
    }
  }

  setTask(task) {
    this.task = task;
    this.variants = this.usable.filter((each) => each.task === task);
    this.marks = marks(this.variants);
    this.weights = new Map(this.variants.slice(0, 2).map((each) => [each.variant, 1]));
    this.draw();
  }

  /** The arms: variants with a positive weight. */
  get arms() {
    return [...this.weights].filter(([, weight]) => weight > 0).map(([variant, weight]) => ({ variant, weight }));
  }

  async start(event) {
    event.preventDefault();
    this.error = null;
    try {
      const body = { task: this.task, name: this.name.trim(), arms: this.arms, margin: this.margin };
      const started = await postJson("/experiments", body);
      location.hash = link(["experiments", started.id]);
    } catch (error) {
      this.error = error;
      this.draw();
    }
  }

  draw() {
    render(
      html`${HEADING}
        <div class="job-columns">${this.form()}${this.jobs()}</div>`,
      this.container,
    );
  }

  form() {
    return html`<form class="panel job-form" @submit=${(event) => this.start(event)}>
      <h2>Start an experiment</h2>
      ${segments("task", "Task", this.tasks, this.task, (task) => this.setTask(task))}
      <label class="field"
        ><span>Name</span
        ><input
          required
          maxlength="100"
          .value=${live(this.name)}
          @input=${(event) => (this.name = event.target.value)}
      /></label>
      <fieldset class="arms">
        <legend>Weight of each variant</legend>
        ${this.variants.map((each) => this.arm(each))}
      </fieldset>
      <label class="field"
        ><span>Margin of equivalence</span
        ><input
          type="number"
          min="0.001"
          max="0.5"
          step="0.001"
          required
          .value=${live(String(this.margin))}
          @input=${(event) => (this.margin = event.target.valueAsNumber)}
      /></label>
      <p class="small soft">Arms whose ratings differ by less than the margin are called equivalent.</p>
      ${this.error ? problem(this.error) : nothing}
      <button class="primary" type="submit" ?disabled=${this.arms.length < 2}>Start</button>
    </form>`;
  }

  arm({ variant }) {
    const all = this.arms.reduce((sum, each) => sum + each.weight, 0);
    const weight = this.weights.get(variant) ?? 0;
    const change = (event) => {
      this.weights.set(variant, event.target.valueAsNumber || 0);
      this.draw();
    };
    return html`<label class="arm"
      >${markIcon(this.marks.get(variant))}<span>${variant}</span
      ><span class="soft">${weight > 0 ? percent(weight / all) : "none"}</span>
      <input
        type="number"
        min="0"
        max="100"
        step="any"
        aria-label="Weight of ${variant}"
        .value=${live(String(weight))}
        @input=${change}
    /></label>`;
  }

  jobs() {
    if (!this.list.length)
      return html`<section class="jobs">
        <h2>Experiments</h2>
        <p class="empty">No experiment yet.</p>
      </section>`;
    return html`<section class="jobs">
      <h2>Experiments</h2>
      <ul class="job-list">
        ${this.list.map(
          (each) =>
            html`<li>
              <a class="job" href=${link(["experiments", each.id])}>
                <span class="job-title">${each.name}</span
                ><span class="job-note"
                  >${TASKS[each.task]}, ${each.arms.map((arm) => arm.variant).join(", ")}, ${ago(each.created_at)}</span
                >
                <span class="status status-${each.status}"
                  ><span class="status-dot" aria-hidden="true"></span>${each.status}</span
                ></a
              >
            </li>`,
        )}
      </ul>
    </section>`;
  }
}
