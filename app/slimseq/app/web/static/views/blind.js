// A blind vote: outputs of a comparison, shuffled and unnamed until the user has said which is better.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { ProblemError, post } from "../api.js";
import { problem } from "../parts.js";
import { link } from "../route.js";
import { marker, outputClass } from "./markup.js";

const LETTERS = "ABCD";
const EQUAL = "you found the outputs equally good";

/** One comparison, from the request to the vote. `state`: running, voting, revealed or failed. */
export class BlindVote {
  constructor(page) {
    Object.assign(this, { page, state: "running", order: [], feedback: null, error: null, note: null });
  }

  /** Asks the service for the outputs. They are shown unnamed if there is something to choose from. */
  async run(signal) {
    const { page } = this;
    const names = page.chosen.map((name) => `&variant=${encodeURIComponent(name)}`).join("");
    try {
      const { id, results } = await post(`/compare?task=${page.task}${names}`, page.body, { signal });
      this.comparison = id;
      page.results = new Map(results.map((each) => [each.variant, resultOf(each)]));
      this.order = shuffled(results.filter((each) => !each.error).map((each) => each.variant));
      this.note = this.nothingToVoteOn();
      this.state = this.note ? "revealed" : "voting";
      if (this.isTie) this.feedback = await post("/feedback", { comparison: id, preferred: null });
    } catch (error) {
      if (signal.aborted) return;
      Object.assign(this, { state: "failed", error });
    }
    announce(this.state === "voting" ? "The outputs are there. Which is better?" : (this.note ?? ""));
  }

  /** Whether all outputs are the same text. */
  get isTie() {
    return this.order.length > 1 && new Set(this.order.map((name) => this.page.results.get(name).text)).size === 1;
  }

  nothingToVoteOn() {
    if (this.order.length < 2) return "Fewer than two variants have answered, so there is nothing to vote on.";
    return this.isTie ? "All outputs are the same text: a tie." : null;
  }

  /** Votes for a variant, or for none: null if all are equally good. */
  async prefer(name) {
    this.error = null;
    try {
      this.feedback = await post("/feedback", { comparison: this.comparison, preferred: name });
      this.reveal();
      announce(`Thank you: ${name ? `you preferred ${name}` : EQUAL}.`);
    } catch (error) {
      this.error = error;
      this.page.draw();
    }
  }

  reveal() {
    this.state = "revealed";
    this.page.draw();
    document.getElementById("outputs-title").focus();
  }

  /** The columns after the vote: in the order of the vote, then what failed. */
  get columns() {
    return [...this.order, ...this.page.chosen.filter((name) => !this.order.includes(name))];
  }
}

const resultOf = (each) =>
  each.error
    ? { state: "failed", text: "", error: new ProblemError(each.error) }
    : { state: "done", text: each.outputs[0].text, response: each };

/** Fisher and Yates's shuffle. */
function shuffled(names) {
  const order = [...names];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

const announce = (words) => (document.getElementById("announcer").textContent = words);

/** Draws the vote until it is cast. */
export function ballot(page) {
  const { blind } = page;
  const isVoting = blind.state === "voting";
  const names = isVoting ? blind.order : page.chosen;
  return html`<section aria-labelledby="outputs-title">
    <div class="outputs-top">
      <h2 id="outputs-title" tabindex="-1">Which is ${superlative(names)}?</h2>
      ${
        isVoting
          ? html`<button type="button" class="quiet-button" @click=${() => blind.reveal()}>Show names without a vote</button>`
          : nothing
      }
    </div>
    ${blind.error ? problem(blind.error) : nothing}
    ${
      blind.state === "failed"
        ? nothing
        : html`<div class="outputs blind columns-${names.length}">
              ${names.map((name, index) => unnamed(page, name, LETTERS[index], isVoting, superlative(names)))}
            </div>
            <button type="button" class="secondary tie" ?disabled=${!isVoting} @click=${() => blind.prefer(null)}>
              Equally good
            </button>
            <p class="note">The order is random. The names are shown after the vote.</p>`
    }
  </section>`;
}

const superlative = (names) => (names.length === 2 ? "better" : "the best");

function unnamed(page, name, letter, isVoting, wording) {
  return html`<article class="output tone-0" aria-busy=${!isVoting}>
    <header>
      <h3>Output ${letter}</h3>
      ${isVoting ? nothing : html`<span class="state">Writing</span>`}
    </header>
    <div class=${outputClass(page)} lang=${page.pair.at(-1) ?? "en"}>${
      isVoting
        ? html`<p>${marker(page, page.results.get(name).text)()}</p>`
        : html`<p><span class="caret" aria-hidden="true"></span></p>`
    }</div>
    <button type="button" class="secondary" ?disabled=${!isVoting} @click=${() => page.blind.prefer(name)}>
      ${letter} is ${wording}
    </button>
  </article>`;
}

/** Thanks for the vote, or why there was none. */
export function afterVote({ feedback, note }) {
  if (!feedback && !note) return nothing;
  return html`<p class="thanks">
    ${note ?? html`Thank you: ${feedback.variant ? html`you preferred <b>${feedback.variant}</b>` : EQUAL}.`}
    ${feedback ? counted(feedback) : nothing}
  </p>`;
}

/** Whether feedback counts for an experiment. */
export const counted = ({ experiment }) =>
  experiment
    ? html`It counts for <a href=${link(["experiments", experiment])}>a running experiment</a>.`
    : nothing;
