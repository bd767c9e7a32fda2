// One experiment: the conclusion in words, two arms beside each other, and what each arm has shown.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { getJson, post } from "../api.js";
import { comparisonPlot, reachOf } from "../charts/comparison.js";
import { drawnInterval } from "../charts/interval.js";
import { count, date, percent, signed } from "../format.js";
import { besides, pairName, taskName } from "../languages.js";
import { NUMBERS, WORDS, loading, markIcon, marks, problem, shareButton, table } from "../parts.js";
import { link } from "../route.js";

const PERIOD_MS = 3000;

export function experiment(container, { parts: [id] }) {
  let timer = null;
  let isClosed = false;
  const page = { id, variants: [] };
  const path = `/experiments/${encodeURIComponent(id)}`;
  const draw = () => !isClosed && render(template(page, { end, ask }), container);
  const read = async (answer = getJson(path)) => {
    clearTimeout(timer);
    try {
      page.experiment = await answer;
      page.error = null;
    } catch (error) {
      page.error = error;
    }
    if (page.experiment?.status === "running" && !isClosed) timer = setTimeout(read, PERIOD_MS);
    draw();
  };
  const end = async (call) => {
    page.endError = null;
    try {
      const ended = await post(`${path}/${call}`, {});
      page.asked = null;
      await read(ended);
    } catch (error) {
      page.endError = error;
      draw();
    }
  };
  // A stopped experiment does not start again, and a promotion is for everybody, so the page asks first.
  const ask = (asked) => {
    const before = page.asked;
    Object.assign(page, { asked, endError: null });
    draw();
    container.querySelector(asked ? "#keep" : `#${before}`).focus();
  };
  render(loading(5), container);
  getJson("/variants")
    .then(({ variants }) => (page.variants = variants))
    .catch(() => {})
    .finally(() => read());
  return () => {
    isClosed = true;
    clearTimeout(timer);
  };
}

function template(page, actions) {
  const { experiment: shown, error } = page;
  const crumbs = html`<p class="crumbs">
    <a href=${link(["experiments"])}>Experiments</a> / <span>${page.id.slice(0, 8)}</span>
  </p>`;
  if (!shown) return html`${crumbs}${problem(error)}`;
  page.marks = marks(besides(page.variants, { ...shown, names: shown.arms.map((arm) => arm.variant) }));
  return html`${crumbs}
    <div class="heading">
      <div>
        <h1>${shown.name}</h1>
        <p class="lead">
          ${taskName(shown)}, ${period(shown)}, margin of equivalence ${shown.margin}${ENDS[shown.when_decided]}
        </p>
      </div>
      ${shareButton()}
    </div>
    <div class="job-state">
      <span class="status status-${shown.status}"
        ><span class="status-dot" aria-hidden="true"></span>${shown.status}</span
      >
      ${shown.promoted ? html`<span>It promoted <b>${shown.promoted}</b>.</span>` : nothing} ${endings(page, actions)}
    </div>
    ${error ? problem(error) : nothing}
    <div class="verdict-words verdict-${shown.conclusion.verdict}" role="status">
      <p>${shown.conclusion.text}</p>
      <p class="small">This is valid at any time: look as often as you like.</p>
    </div>
    ${measured(page, VOTES)} ${measured(page, RATINGS)}
    ${shown.pairs.some((pair) => pair.votes || pair.ratings) ? HOW_TO_READ : nothing}
    ${shown.status === "running" ? howToJudge(page) : nothing}
    ${arms(page)}`;
}

/** The buttons that end the experiment: each asks first. */
function endings(page, { end, ask }) {
  const { status, conclusion, promoted } = page.experiment;
  const { arm } = conclusion;
  const button = (id, words, action) =>
    html`<button type="button" class="secondary" id=${id} @click=${action}>${words}</button>`;
  if (page.asked === "stop")
    return html`<span>A stopped experiment cannot start again.</span> ${button("sure", "Stop for good", () => end("stop"))}
      ${button("keep", "Keep it running", () => ask(null))} ${page.endError ? problem(page.endError) : nothing}`;
  if (page.asked === "promote" && arm)
    return html`<span>The experiment ends, and <b>${arm}</b> answers all ${requests(page.experiment)} that name no variant.</span>
      ${button("sure", "Promote it", () => end(`promote?arm=${encodeURIComponent(arm)}`))}
      ${button("keep", "Not now", () => ask(null))} ${page.endError ? problem(page.endError) : nothing}`;
  return html`${status === "running" ? button("stop", "Stop", () => ask("stop")) : nothing}
  ${arm && arm !== promoted ? button("promote", `Promote ${arm}`, () => ask("promote")) : nothing}`;
}

/** What an experiment is about, in words: of translations, those of its languages. */
const requests = ({ task, languages }) =>
  task === "translation" && languages ? `requests for ${pairName(languages)}` : "requests";

/** What follows by itself. */
const ENDS = { tell: "", stop: ", stops once decided", promote: ", promotes the arm that is ahead" };

const period = ({ created_at: start, stopped_at: end }) =>
  end ? `${date(start)} to ${date(end)}` : `since ${date(start)}`;

const HOW_TO_READ = html`<p class="note">
  The line is an interval that is valid at any time: with 95 % probability, every interval of the experiment is right. The
  band is the margin around a tie. An arm is ahead once the line has left the tie; two arms are equivalent once the line
  is inside of the band.
</p>`;

const name = (page, variant) =>
  html`<span class="named">${page.marks.has(variant) ? markIcon(page.marks.get(variant)) : nothing}${variant}</span>`;

const VOTES = {
  title: "Votes",
  key: "votes",
  tie: 0.5,
  value: (votes) => votes.win_rate,
  format: (value) => percent(value, 0),
  number: (votes) =>
    html`<b>${percent(votes.win_rate, 1)}</b>
      <span class="soft">${percent(votes.interval[0], 1)} to ${percent(votes.interval[1], 1)}</span>`,
  note: ({ votes, wins, ties }) =>
    `${count(wins - ties / 2)} of ${count(votes)} votes${ties ? `, ${count(ties)} equally good` : ""}`,
  legend: "How often the arm on the right won when both were compared. A tie counts as half a win.",
};

const RATINGS = {
  title: "Difference of mean ratings",
  key: "ratings",
  tie: 0,
  value: (ratings) => ratings.difference,
  format: (value) => signed(value, 2),
  number: (ratings) =>
    html`<b>${signed(ratings.difference, 3)}</b> <span class="soft">${signed(ratings.interval[0], 3)} to ${signed(ratings.interval[1], 3)}</span>`,
  note: () => "",
  legend: "The mean rating of the arm on the right minus that of the other one.",
};

/** A measure of pairs of arms, drawn. */
function measured(page, measure) {
  const { pairs, margin } = page.experiment;
  const shown = pairs.filter((pair) => pair[measure.key]);
  if (!shown.length) return nothing;
  const reach = reachOf(
    shown.map((pair) => pair[measure.key].interval),
    measure.tie,
    margin,
  );
  return html`<section>
    <h2>${measure.title}</h2>
    <ul class="pairs">
      ${shown.map((pair) => pairRow(page, pair, measure, reach))}
    </ul>
    <p class="note">${measure.legend}</p>
  </section>`;
}

function pairRow(page, { first, second, ...pair }, measure, reach) {
  const found = pair[measure.key];
  const { tie } = measure;
  const { margin } = page.experiment;
  const tone = page.marks.get(found.verdict === "behind" ? second : first)?.tone ?? 0;
  const plot = { value: measure.value(found), interval: found.interval, tie, margin, reach };
  return html`<li class="pair panel tone-${tone}">
    <div class="pair-sides">
      <span>${name(page, second)}</span><span class="soft">against</span><span>${name(page, first)}</span>
    </div>
    ${comparisonPlot(plot, measure.format)}
    <div class="pair-words">
      <span class="pair-verdict">${verdict(found.verdict, first, second)}</span>
      <span>${measure.number(found)}</span> <span class="soft">${measure.note(found)}</span>
    </div>
  </li>`;
}

/** The verdict on two arms, in words. */
function verdict(found, first, second) {
  if (found === "ahead") return html`<b>${first}</b> is ahead`;
  if (found === "behind") return html`<b>${second}</b> is ahead`;
  return found === "equivalent" ? "Equivalent within the margin" : "Undecided";
}

function howToJudge({ experiment: shown }) {
  const variants = shown.arms.map((arm) => arm.variant).slice(0, 4);
  const [source, target] = shown.languages ?? [];
  return html`<aside class="panel how-to">
    <div>
      <h3>How feedback comes in</h3>
      <p class="small soft">
        An arm answers ${requests(shown)} that name no variant. Programs send the <code>id</code> of an answer or of a
        comparison to <code>POST /feedback</code>. People vote here.
      </p>
    </div>
    <a class="secondary" href=${link([], { task: shown.task, source, target, variant: variants })}>Vote in the playground</a>
  </aside>`;
}

function arms(page) {
  const shown = page.experiment.arms;
  const hasRatings = shown.some((arm) => arm.ratings);
  return html`<section>
    <h2>Arms</h2>
    ${table(
      "Arms",
      {
        Arm: WORDS,
        Share: NUMBERS,
        Responses: NUMBERS,
        Errors: NUMBERS,
        ...(hasRatings ? { "Mean rating": WORDS, Ratings: NUMBERS } : {}),
      },
      shown.map((arm) => armRow(page, arm, hasRatings)),
    )}
  </section>`;
}

function armRow(page, { variant, share, responses, errors, ratings, dropped }, hasRatings) {
  const tone = page.marks.get(variant)?.tone ?? 0;
  const rating = ratings
    ? drawnInterval(ratings.mean, ratings.interval, [0, 1], { tone, at: null, decimals: 2 })
    : html`<span class="soft">none yet</span>`;
  return html`<tr>
    <th scope="row">${name(page, variant)} ${dropped ? html`<span class="soft">dropped</span>` : nothing}</th>
    <td class="number">${percent(share)}</td>
    <td class="number"><b>${count(responses)}</b></td>
    <td class="number ${errors ? "bad" : ""}">${count(errors)}</td>
    ${
      hasRatings
        ? html`<td>${rating}</td>
            <td class="number">${count(ratings?.count)}</td>`
        : nothing
    }
  </tr>`;
}
