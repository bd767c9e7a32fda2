// Experiments: a form that splits traffic between variants, and the list.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { getJson, post } from "../api.js";
import { TASKS, ago, percent } from "../format.js";
import { LanguageChoice, pairName, taskName } from "../languages.js";
import { heading, loading, markIcon, marks, problem, segments, viewSwitch } from "../parts.js";
import { link } from "../route.js";

const ANOTHER_RUNS = 409;
const WHEN_DECIDED = { tell: "Only tell", stop: "Stop", promote: "Promote it" };
const HEADING = heading("Experiments", "Split live traffic between variants, and stop when the answer is known.");

export function experiments(container) {
  const page = new Experiments(container);
  page.open();
}

class Experiments {
  constructor(container) {
    Object.assign(this, { container, name: "", margin: 0.02, weights: new Map(), error: null, running: null });
    Object.assign(this, { isSending: false, whenDecided: "tell", dropsLosing: false });
  }

  async open() {
    render(html`${HEADING}${loading(5)}`, this.container);
    try {
      const [{ variants, pairs }, list] = await Promise.all([getJson("/variants"), getJson("/experiments")]);
      Object.assign(this, { usable: variants.filter((each) => each.status !== "broken"), pairs, list });
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
    this.languages = new LanguageChoice(this.usable, this.pairs, task);
    this.setVariants();
  }

  /** Offers the variants of the chosen pair of languages, which alone may be arms of one experiment. */
  setVariants() {
    this.variants = this.languages.variants;
    this.marks = marks(this.variants);
    this.weights = new Map(this.languages.first.slice(0, 2).map((name) => [name, 1]));
    this.draw();
  }

  /** Sets what the experiment does once an arm is ahead. */
  end(whenDecided) {
    this.whenDecided = whenDecided;
    this.draw();
  }

  /** The arms: variants with a positive weight. */
  get arms() {
    return [...this.weights].filter(([, weight]) => weight > 0).map(([variant, weight]) => ({ variant, weight }));
  }

  async start(event) {
    event.preventDefault();
    Object.assign(this, { error: null, running: null, isSending: true });
    this.draw();
    try {
      const { task, arms, margin, whenDecided: when_decided, dropsLosing: drop_losing } = this;
      const languages = this.languages.pair;
      const body = { task, name: this.name.trim(), languages, arms, margin, when_decided, drop_losing };
      const started = await post("/experiments", body);
      location.hash = link(["experiments", started.id]);
    } catch (error) {
      this.error = error;
      if (error.status === ANOTHER_RUNS) await this.findRunning();
      this.isSending = false;
      this.draw();
    }
  }

  /** Finds the experiment that has the traffic of the task and its pair of languages. */
  async findRunning() {
    const isOfPair = ({ languages }) => !languages || pairName(languages) === pairName(this.languages.pair);
    const isIt = (each) => each.task === this.task && each.status === "running" && isOfPair(each);
    try {
      this.list = await getJson("/experiments");
      this.running = this.list.experiments.find(isIt) ?? null;
    } catch {
      // The problem is shown without a link.
    }
  }

  async more() {
    try {
      const page = await getJson(`/experiments?before=${this.list.next}`);
      this.list = { ...page, experiments: [...this.list.experiments, ...page.experiments] };
    } catch (error) {
      this.error = error;
    }
    this.draw();
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
      ${this.languages.template(() => this.setVariants())}
      <label class="field"
        ><span>Name</span
        ><input
          required
          maxlength="200"
          placeholder="What you want to know"
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
          min="0"
          max="0.5"
          step="any"
          required
          .value=${live(String(this.margin))}
          @input=${(event) => (this.margin = event.target.valueAsNumber)}
      /></label>
      <p class="small soft">
        Differences of mean ratings (0 to 1) and of win rates up to the margin do not matter: such arms are equivalent.
      </p>
      <div class="field">
        <span aria-hidden="true">Once an arm is ahead</span>
        ${segments("when", "Once an arm is ahead", WHEN_DECIDED, this.whenDecided, (when) => this.end(when))}
      </div>
      ${viewSwitch(this, "dropsLosing", "Losing arms get no more traffic")}
      ${this.error ? problem(this.error) : nothing}
      ${this.running ? html`<a class="secondary" href=${link(["experiments", this.running.id])}>Open ${this.running.name}</a>` : nothing}
      <button class="primary" type="submit" ?disabled=${this.arms.length < 2 || this.isSending}>Start</button>
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
      ><span class="soft">${weight > 0 ? percent(weight / all) : ""}</span>
      <input
        type="number"
        min="0"
        max="1000000"
        step="any"
        aria-label="Weight of ${variant}"
        .value=${live(String(weight))}
        @input=${change}
    /></label>`;
  }

  jobs() {
    const { experiments: list, next } = this.list;
    if (!list.length)
      return html`<section class="jobs">
        <h2>Experiments</h2>
        <p class="empty">No experiment yet. Start one, and share its address.</p>
      </section>`;
    return html`<section class="jobs">
      <h2>Experiments</h2>
      <ul class="job-list">
        ${list.map(
          (each) =>
            html`<li>
              <a class="job" href=${link(["experiments", each.id])}>
                <span class="job-title">${each.name}</span
                ><span class="job-note"
                  >${taskName(each)}, ${each.arms.map((arm) => arm.variant).join(", ")}, ${ago(each.created_at)}</span
                >
                <span class="status status-${each.status}"
                  ><span class="status-dot" aria-hidden="true"></span>${each.status}</span
                ></a
              >
            </li>`,
        )}
      </ul>
      ${next ? html`<button type="button" class="secondary more" @click=${() => this.more()}>Show older</button>` : nothing}
    </section>`;
  }
}
