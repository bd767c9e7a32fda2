// Evaluations: a form to start one, and the list.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { getJson, post } from "../api.js";
import { TASKS, ago, count, percent } from "../format.js";
import { LanguageChoice, isInLanguages, pairName, taskName } from "../languages.js";
import { heading, loading, markIcon, marks, problem, segments } from "../parts.js";
import { link } from "../route.js";
import { PAIR_KEYS, parsePairs } from "../text/pairs.js";

const PERIOD_MS = 2000;
const FIRST_VARIANTS = 3;
const SOURCES = { dataset: "Data set", file: "File", pairs: "Pairs" };

export function evaluations(container) {
  const page = new Evaluations(container);
  page.open();
  return () => page.close();
}

class Evaluations {
  constructor(container) {
    Object.assign(this, {
      container,
      source: "dataset",
      dataset: null,
      samples: 40,
      pairs: "",
      file: null,
      chosen: [],
      error: null,
      isSending: false,
      timer: null,
      isClosed: false,
    });
  }

  async open() {
    render(html`${HEADING}${loading(5)}`, this.container);
    try {
      const answers = await Promise.all([getJson("/variants"), getJson("/info"), getJson("/evaluations")]);
      const [{ variants, pairs: languagePairs }, { datasets }, list] = answers;
      Object.assign(this, { languagePairs, datasets, list });
      this.usable = variants.filter((each) => each.status !== "broken");
      this.setTask(Object.keys(TASKS).find((task) => this.usable.some((each) => each.task === task)));
      this.watch();
    } catch (error) {
      render(html`${HEADING}${problem(error, () => this.open())}`, this.container);
    }
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
  }

  /** Reads the list again while an evaluation is queued or running. */
  watch() {
    clearTimeout(this.timer);
    if (this.isClosed || !this.list.evaluations.some((each) => ["queued", "running"].includes(each.status))) return;
    this.timer = setTimeout(async () => {
      const older = this.older ?? [];
      try {
        const fresh = await getJson("/evaluations");
        if (this.isClosed) return;
        if (!older.length) this.list = fresh;
        else this.list = { ...this.list, evaluations: [...fresh.evaluations, ...older] };
        this.draw();
      } catch {
        // The next reading shows it.
      }
      this.watch();
    }, PERIOD_MS);
  }

  setTask(task) {
    this.task = task;
    this.languages = new LanguageChoice(this.usable, this.languagePairs, task);
    this.setVariants();
  }

  /** Offers the variants and the data sets of the chosen pair of languages. Scores of others would say nothing. */
  setVariants() {
    this.variants = this.languages.variants;
    this.marks = marks(this.variants);
    this.chosen = this.languages.first.slice(0, FIRST_VARIANTS);
    this.fitting = this.datasets.filter(
      ({ task, languages }) => task === this.task && isInLanguages(languages, this.languages.pair),
    );
    this.dataset = (this.fitting.find(({ name }) => isBundled(name)) ?? this.fitting[0])?.name ?? null;
    this.draw();
  }

  async start(event) {
    event.preventDefault();
    this.error = null;
    const body = this.body();
    if (!body) return;
    this.isSending = true;
    this.draw();
    try {
      const job = await post(this.source === "file" ? "/evaluations/upload" : "/evaluations", body);
      location.hash = link(["evaluations", job.id]);
    } catch (error) {
      this.error = error;
      this.isSending = false;
      this.draw();
    }
  }

  /** The body of the request: a form for a file, else JSON. Nothing if the pairs cannot be read. */
  body() {
    const { task, chosen: variants } = this;
    if (this.source === "file") return this.formWithFile();
    if (this.source === "dataset") return { task, variants, dataset: this.dataset, samples: this.samples };
    const { pairs, error } = parsePairs(task, this.pairs);
    if (!error) return { task, variants, languages: this.statedLanguages, pairs };
    this.set({ error: { title: "The pairs cannot be read", message: error } });
    return null;
  }

  /** The languages of own pairs, if the variants have others too. Else the service looks whether the texts fit them. */
  get statedLanguages() {
    return this.languages.isOwnOf(this.chosen) ? undefined : this.languages.pair;
  }

  formWithFile() {
    const form = new FormData();
    form.append("task", this.task);
    for (const name of this.chosen) form.append("variants", name);
    for (const code of this.statedLanguages ?? []) form.append("languages", code);
    form.append("file", this.file);
    return form;
  }

  set(values) {
    Object.assign(this, values);
    this.draw();
  }

  draw() {
    if (!this.isClosed)
      render(
        html`${HEADING}
          <div class="job-columns">${this.form()}${this.jobs()}</div>`,
        this.container,
      );
  }

  form() {
    const tasks = Object.fromEntries(
      Object.entries(TASKS).filter(([task]) => this.usable.some((each) => each.task === task)),
    );
    return html`<form class="panel job-form" @submit=${(event) => this.start(event)}>
      <h2>Start an evaluation</h2>
      ${segments("task", "Task", tasks, this.task, (task) => this.setTask(task))}
      ${this.languages.template(() => this.setVariants())}
      <fieldset class="picks">
        <legend>Variants</legend>
        ${this.variants.map((each) => this.pick(each))}
      </fieldset>
      ${segments("source", "What to measure on", SOURCES, this.source, (source) => this.set({ source, file: null, error: null }))}
      ${
        {
          dataset: () => this.namedData(),
          file: () => this.ownFile(),
          pairs: () => this.ownPairs(),
        }[this.source]()
      }
      ${this.error ? problem(this.error) : nothing}
      <button class="primary" type="submit" ?disabled=${!this.chosen.length || this.isWithoutData || this.isSending}>
        Start
      </button>
    </form>`;
  }

  get isWithoutData() {
    return this.source === "dataset" && !this.fitting.length;
  }

  pick(each) {
    const change = (event) =>
      this.set({
        chosen: this.variants
          .map((other) => other.variant)
          .filter((name) => (name === each.variant ? event.target.checked : this.chosen.includes(name))),
      });
    return html`<label class="option"
      ><input
        type="checkbox"
        .checked=${live(this.chosen.includes(each.variant))}
        @change=${change} />${markIcon(this.marks.get(each.variant))}<span>${each.variant}</span></label
    >`;
  }

  namedData() {
    if (!this.fitting.length)
      return html`<p class="small soft">
        There is no data set of ${pairName(this.languages.pair)} here. Use a file or pairs of your own.
      </p>`;
    return html`<div class="field-row">
        <label class="field"
          ><span>Name</span
          ><select @change=${(event) => this.set({ dataset: event.target.value })}>
            ${this.fitting.map(
              ({ name }) => html`<option value=${name} .selected=${name === this.dataset}>${name}</option>`,
            )}
          </select></label
        >
        <label class="field"
          ><span>Samples</span
          ><input
            type="number"
            min="1"
            required
            .value=${live(String(this.samples))}
            @input=${(event) => (this.samples = event.target.valueAsNumber)}
        /></label>
      </div>
      ${
        isBundled(this.dataset)
          ? html`<p class="small soft">
              <code>${this.dataset}</code> is small and bundled: it shows that a variant works, and is no benchmark.
            </p>`
          : nothing
      }`;
  }

  ownPairs() {
    const [source, target] = PAIR_KEYS[this.task];
    return html`<label class="field"
        ><span>Pairs, one a line</span
        ><textarea
          placeholder=${`{"${source}": "…", "${target}": "…"}`}
          spellcheck="false"
          .value=${live(this.pairs)}
          @input=${(event) => (this.pairs = event.target.value)}></textarea>
      </label>
      <p class="small soft">
        JSON with <code>${source}</code> and <code>${target}</code>, or two columns separated by a tab.
      </p>`;
  }

  ownFile() {
    const [source, target] = PAIR_KEYS[this.task];
    return html`<label class="field"
        ><span>File with pairs</span
        ><input
          type="file"
          accept=".jsonl,.csv,.tsv"
          required
          @change=${(event) => (this.file = event.target.files[0] ?? null)}
      /></label>
      <p class="small soft">
        <code>.jsonl</code> or <code>.csv</code> with <code>${source}</code> and <code>${target}</code>, or
        <code>.tsv</code> with two columns.
      </p>`;
  }

  jobs() {
    const { evaluations: list } = this.list;
    if (!list.length)
      return html`<section class="jobs">
        <h2>Evaluations</h2>
        <p class="empty">No evaluation yet. Start one, and share its address.</p>
      </section>`;
    return html`<section class="jobs">
      <h2>Evaluations</h2>
      <ul class="job-list">
        ${list.map(job)}
      </ul>
      ${this.list.next ? html`<button type="button" class="secondary" @click=${() => this.more()}>Show older</button>` : nothing}
    </section>`;
  }

  async more() {
    try {
      const page = await getJson(`/evaluations?before=${this.list.next}`);
      this.older = [...(this.older ?? []), ...page.evaluations];
      this.list = { ...page, evaluations: [...this.list.evaluations, ...page.evaluations] };
    } catch (error) {
      this.error = error;
    }
    this.draw();
  }
}

const HEADING = heading("Evaluations", "Measure variants on a data set or on your own pairs.");

function job(each) {
  return html`<li>
    <a class="job" href=${link(["evaluations", each.id])}>
      <span class="job-title">${each.variants.join(", ")}</span>
      <span class="job-note">${taskName(each)}, ${samplesOf(each)}, ${ago(each.created_at)}</span>
      ${statusMark(each)}</a
    >
  </li>`;
}

const isBundled = (dataset) => /^sample(-[a-z]+)?$/.test(dataset);

/** What a job measures on, in words. */
export function samplesOf(each) {
  const counted = (noun) => `${count(each.samples)} ${noun}${each.samples === 1 ? "" : "s"}`;
  if (each.dataset === "pairs") return counted("own pair");
  return `${counted("sample")} of ${isBundled(each.dataset) ? "the bundled set" : each.dataset}`;
}

/** The status of a job, with its progress. */
export function statusMark(each) {
  const progress = each.status === "running" ? ` ${percent(each.progress)}` : "";
  return html`<span class="status status-${each.status}"
    ><span aria-hidden="true" class="status-dot"></span>${each.status}${progress}</span
  >`;
}
