// The playground: one text through up to four variants, one after the other, streamed side by side.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { live } from "../vendor/lit-html/directives/live.js";
import { getJson, post, streamEvents } from "../api.js";
import { TASKS, ago, times } from "../format.js";
import { icons } from "../icons.js";
import { LanguageChoice, ownPair, pairOf, taskName } from "../languages.js";
import { isRoot, loading, markIcon, marks, problem } from "../parts.js";
import { link, replaceAddress } from "../route.js";
import { clearRuns, keepRun, lastRuns } from "../text/runs.js";
import { SAMPLES } from "../text/samples.js";
import { FORMATS } from "../text/structure.js";
import { BlindVote, ballot } from "./blind.js";
import { outputs } from "./outputs.js";
import { writing } from "./writing.js";

const CALLS = { translation: "/translate", summarization: "/summarize" };
const MAX_VARIANTS = 4;
const BEAMS = 4;
// Longer texts are not in the address, which some programs cut.
const MAX_SHARED_CHARACTERS = 2000;
const REAL_MODELS = "https://github.com/slimseq/slimseq#use-a-real-model";

// The playground as the visitor left it, for the way back to it within the page.
let left = null;

export function playground(container, { query }) {
  const page = new Playground(container);
  page.open(query).catch((error) =>
    render(
      problem(error, () => page.open(query)),
      container,
    ),
  );
  return () => {
    page.stop();
    left = page;
  };
}

class Playground {
  constructor(container) {
    this.container = container;
    this.results = new Map();
    this.isRunning = false;
    this.showsDifferences = true;
    this.showsPreview = false;
    this.blind = null;
    this.controller = null;
  }

  async open(query) {
    render(loading(5), this.container);
    const { variants, pairs } = await getJson("/variants");
    this.usable = variants.filter((each) => each.status !== "broken");
    this.pairs = pairs;
    const bases = this.usable.filter(isRoot).map(({ task, variant }) => getJson(`/variants/${task}/${variant}`));
    this.isDemonstration = (await Promise.all(bases)).some(({ manifest }) => manifest?.description.startsWith("Demo"));
    this.tasks = Object.fromEntries(
      Object.entries(TASKS).filter(([task]) => this.usable.some((each) => each.task === task)),
    );
    const wanted = query.get("task") ?? "";
    const task = Object.hasOwn(this.tasks, wanted) ? wanted : Object.keys(this.tasks)[0];
    if (left?.address && (query.size === 0 || left.address === location.hash)) return this.restore(left);
    this.protect = query.get("protect") !== "false";
    const [pair, chosen] = [pairOf(query), query.getAll("variant")];
    this.setTask(task, { pair, chosen, text: query.get("text"), format: query.get("format") });
  }

  /** Shows what was asked and answered before: by another playground, or in a run that was kept. */
  restore({ task, pair, chosen, text, format, protect, results, blind = null, ...shown }) {
    Object.assign(this, { protect, showsDifferences: shown.showsDifferences ?? true, showsPreview: shown.showsPreview });
    const known = Object.hasOwn(this.tasks, task) ? task : Object.keys(this.tasks)[0];
    this.setTask(known, { pair, chosen, text, format });
    if (blind && blind.state !== "revealed") return;
    for (const name of this.chosen) if (results.has(name)) this.results.set(name, results.get(name));
    this.draw();
  }

  keep() {
    const { task, pair, text, format, protect } = this;
    const done = [...this.results].filter(([, { state }]) => state === "done");
    const answers = Object.fromEntries(done.map(([name, { response }]) => [name, response]));
    if (done.length) keepRun({ at: new Date().toISOString(), task, pair, text, format, protect, answers });
  }

  openRun({ answers, ...asked }) {
    const results = Object.entries(answers).map(([name, response]) => [
      name,
      { state: "done", text: response.outputs[0].text, response },
    ]);
    this.restore({ ...asked, chosen: Object.keys(answers), results: new Map(results) });
    this.showOutputs();
  }

  /** Shows a task. Without a pair of languages, it is that of the first variant that is chosen. */
  setTask(task, { pair = null, chosen = [], text = null, format = null } = {}) {
    this.stop();
    this.task = task;
    const named = this.usable.find((each) => each.task === task && chosen.includes(each.variant));
    this.languages = new LanguageChoice(this.usable, this.pairs, task, pair ?? (named && ownPair(named)));
    this.text = text ?? (this.isEnglish ? SAMPLES[task][0].text : "");
    this.format = Object.hasOwn(FORMATS, format ?? "") ? format : "text";
    this.chooseAmong(chosen);
  }

  /** Shows the variants of the chosen pair, of which `wanted` are chosen, or else the usual ones. */
  chooseAmong(wanted = []) {
    this.stop();
    this.variants = this.languages.variants;
    this.marks = marks(this.variants);
    const names = this.variants.map((each) => each.variant);
    const known = wanted.filter((name) => names.includes(name));
    const chosen = known.length ? known : this.languages.first;
    this.chosen = names.filter((name) => chosen.includes(name)).slice(0, MAX_VARIANTS);
    this.changed();
  }

  get pair() {
    return this.languages.pair;
  }

  /** After another pair was chosen. The text stays, but for samples, which are in English. */
  changeLanguages() {
    const samples = SAMPLES[this.task];
    if (this.isEnglish && !this.text) this.text = samples[0].text;
    if (!this.isEnglish && samples.some(({ text }) => text === this.text)) this.text = "";
    this.chooseAmong();
  }

  /** Whether texts are in English, as the samples are. */
  get isEnglish() {
    return /^en\b|^eng\b/.test((this.pair[0] ?? "en").replaceAll("_", "-"));
  }

  /** Forgets the outputs, which belong to another text or choice, and updates the address. */
  changed() {
    this.results = new Map();
    this.blind = null;
    const text = this.isTextShared ? this.text : undefined;
    const format = this.format === "text" ? undefined : this.format;
    const protect = this.protect ? undefined : false;
    this.address = link([], { task: this.task, ...this.languages.query, variant: this.chosen, format, protect, text });
    replaceAddress(this.address);
    this.draw();
  }

  /** What is sent with each request. */
  get body() {
    const { text, format, protect } = this;
    if (this.task === "summarization") return { text, format };
    const [source, target] = this.pair;
    return { text, format, protect, ...(this.languages.isOwnOf(this.chosen) ? {} : { source, target }) };
  }

  /** The format of the outputs: summaries are plain text. */
  get outputFormat() {
    return this.task === "translation" ? this.format : "text";
  }

  get isTextShared() {
    return this.text.length <= MAX_SHARED_CHARACTERS;
  }

  toggle(name) {
    this.stop();
    const chosen = this.chosen.includes(name) ? this.chosen.filter((each) => each !== name) : [...this.chosen, name];
    this.chosen = this.variants.map((each) => each.variant).filter((each) => chosen.includes(each));
    this.changed();
  }

  /** Changes the text, its format or its protection. */
  set(changes) {
    this.stop();
    Object.assign(this, changes);
    this.changed();
  }

  stop() {
    this.controller?.abort();
    this.controller = null;
    this.isRunning = false;
    for (const result of this.results.values())
      if (result.state !== "done" && result.state !== "failed") result.state = "stopped";
  }

  async run() {
    if (!this.text.trim() || this.chosen.length === 0) return;
    const controller = this.begin();
    this.results = new Map(this.chosen.map((name) => [name, { state: "waiting", text: "" }]));
    this.draw();
    this.showOutputs();
    // One after the other: variants that share the processor would slow each other down.
    for (const name of this.chosen) {
      await this.generate(name, controller);
      if (controller.signal.aborted) return;
    }
    this.stop();
    this.keep();
    this.draw();
    const results = this.chosen.map((name) => this.results.get(name));
    const failed = results.filter((each) => each.state === "failed").length;
    const warned = results.filter((each) => each.response?.outputs[0].warnings).length;
    document.getElementById("announcer").textContent =
      (failed
        ? `${failed} of ${this.chosen.length} variants failed.`
        : `All ${this.chosen.length} variants have answered.`) + (warned ? ` Outputs with warnings: ${warned}.` : "");
  }

  begin() {
    this.stop();
    this.isRunning = true;
    this.blind = null;
    this.controller = new AbortController();
    return this.controller;
  }

  /** Shows the outputs without names, until the user has chosen the better one. */
  async runBlind() {
    const { signal } = this.begin();
    this.results = new Map();
    this.blind = new BlindVote(this);
    this.draw();
    this.showOutputs();
    await this.blind.run(signal);
    if (signal.aborted) return;
    this.stop();
    this.draw();
  }

  /** Scrolls to the outputs: as little as shows their text, so that the buttons stay; on a phone, to their top. */
  showOutputs() {
    const title = document.getElementById("outputs-title");
    if (!matchMedia("(max-width: 760px)").matches)
      this.container.querySelector(".output-text").scrollIntoView({ block: "nearest" });
    else if (title.getBoundingClientRect().top > window.innerHeight * 0.7) title.scrollIntoView();
  }

  async generate(name, controller) {
    const result = this.results.get(name);
    const { signal } = controller;
    result.state = this.variants.find((each) => each.variant === name).status === "loaded" ? "starting" : "loading";
    this.draw();
    try {
      const path = `${CALLS[this.task]}?variant=${encodeURIComponent(name)}`;
      for await (const { name: event, data } of streamEvents(path, this.body, signal)) {
        if (event === "token") Object.assign(result, { state: "writing", text: result.text + data.text });
        if (event === "done") Object.assign(result, { state: "done", text: data.outputs[0].text, response: data });
        this.draw();
      }
      this.variants.find((each) => each.variant === name).status = "loaded";
    } catch (error) {
      if (signal.aborted) return;
      Object.assign(result, { state: "failed", error });
      this.draw();
    }
  }

  /** Asks once for the best outputs of a search with four beams; those of a variant's own beams may be fewer. */
  async findOthers(result, name) {
    if (result.others) return;
    result.othersError = null;
    try {
      const path = `${CALLS[this.task]}?variant=${encodeURIComponent(name)}`;
      const answer = await post(path, { ...this.body, num_beams: BEAMS, num_return_sequences: BEAMS });
      const [best] = answer.outputs;
      const texts = [best, ...(best.alternatives ?? [])].map((each) => each.text);
      result.others = texts.filter((each) => each !== result.text);
    } catch (error) {
      result.othersError = error;
    }
    this.draw();
  }

  async rate(result, rating) {
    if (result.rating !== undefined) return;
    Object.assign(result, { rating, ratingError: null });
    this.draw();
    try {
      result.feedback = await post("/feedback", { response: result.response.id, rating });
    } catch (error) {
      Object.assign(result, { rating: undefined, ratingError: error });
    }
    this.draw();
  }

  draw() {
    render(this.template(), this.container);
  }

  template() {
    return html`<div class="hero">
        <h1>What does a smaller model lose?</h1>
        <p class="lead">Send one text through several variants and read their outputs side by side.</p>
        ${this.isDemonstration ? html`<p class="note">Small demonstration models. <a href=${REAL_MODELS}>Import a real one</a>.</p>` : nothing}
      </div>
      <form
        class="composer"
        @submit=${(event) => {
          event.preventDefault();
          this.isRunning ? this.halt() : this.run();
        }}>
        ${writing(this)}
        <div class="side">${this.choice()} ${this.actions()}</div>
      </form>
      ${this.blind && this.blind.state !== "revealed" ? ballot(this) : outputs(this)} ${this.runs()}`;
  }

  runs() {
    const runs = lastRuns();
    if (!runs.length) return nothing;
    const clear = () => {
      clearRuns();
      this.draw();
    };
    return html`<section class="runs" aria-labelledby="runs-title">
      <div class="section-top">
        <h2 id="runs-title">Last runs</h2>
        <button type="button" class="quiet-button" @click=${clear}>Clear</button>
      </div>
      <ul class="job-list">
        ${runs.map(
          (run) =>
            html`<li>
              <button type="button" class="job" @click=${() => this.openRun(run)}>
                <span class="job-title">${run.text.slice(0, 200)}</span>
                <span class="job-note">${taskName({ task: run.task, languages: run.pair })}, ${Object.keys(run.answers).join(", ")}, ${ago(run.at)}</span>
              </button>
            </li>`,
        )}
      </ul>
      <p class="note">Kept in this browser alone.</p>
    </section>`;
  }

  halt() {
    this.stop();
    this.blind = null;
    this.draw();
  }

  choice() {
    const isFull = this.chosen.length >= MAX_VARIANTS;
    return html`<fieldset class="choice">
      <legend>Variants <span class="soft">${this.chosen.length} of at most ${MAX_VARIANTS}</span></legend>
      <div class="choice-list">${this.variants.map((each) => this.option(each, isFull))}</div>
    </fieldset>`;
  }

  /** The buttons. They stick to the end of the window as long as the form goes beyond it. */
  actions() {
    const isEmpty = !this.text.trim();
    return html`<div class="actions">
      <button class="primary" type="submit" ?disabled=${isEmpty || this.chosen.length === 0}>
        ${this.isRunning ? html`${icons.stop}Stop` : html`${icons.play}Run`}
      </button>
      <button
        class="secondary"
        type="button"
        ?disabled=${isEmpty || this.chosen.length < 2 || this.isRunning}
        @click=${() => this.runBlind()}>
        Vote blind
      </button>
      <p class="hint">Vote blind hides the names.<br /><kbd>Ctrl</kbd> <kbd>Enter</kbd> runs too.</p>
    </div>`;
  }

  option(each, isFull) {
    const isChosen = this.chosen.includes(each.variant);
    const speedUp = each.speed?.speed_up ?? each.published?.speed?.speed_up;
    const note = isRoot(each)
      ? "base model"
      : speedUp
        ? `${times(speedUp)} speed`
        : nothing;
    return html`<label class="option">
      <input
        type="checkbox"
        .checked=${live(isChosen)}
        ?disabled=${isFull && !isChosen}
        @change=${() => this.toggle(each.variant)} />
      ${markIcon(this.marks.get(each.variant))}<span class="option-name">${each.variant}</span>
      <span class="option-note">${note}</span>
    </label>`;
  }
}
