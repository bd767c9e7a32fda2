// All variants of a task: quality against cost, lineage, and the table.

import { html, nothing, render } from "../vendor/lit-html/lit-html.js";
import { getJson } from "../api.js";
import { frontPlot } from "../charts/front.js";
import { commonDomain, intervalBar } from "../charts/interval.js";
import { onWidth } from "../charts/scale.js";
import { DASH, TASKS, bytes, count, fixed, interval, metricName, times } from "../format.js";
import { LanguageChoice, pairOf, serves } from "../languages.js";
import { flatten, lineage, stepNames } from "../lineage.js";
import { bar, gateMark, heading, isRoot, loading, markIcon, marks, problem, segments, whyDefault } from "../parts.js";
import { link, replaceAddress } from "../route.js";
import { compressFront } from "./compress.js";

const AXES = {
  speed: {
    option: "Speed",
    label: "Speed, times the base model's",
    value: (each) => each.speed?.speed_up,
    format: (value) => `${value}×`,
    words: (value) => `${times(value)} as fast as the base model`,
    moreIsBetter: true,
  },
  size: {
    option: "Size",
    label: "Size of the model files",
    value: (each) => each.bytes,
    format: bytes,
    words: (value) => `${bytes(value)} of model files`,
    moreIsBetter: false,
  },
  memory: {
    option: "Memory",
    label: "Memory when loaded",
    value: (each) => each.speed?.resident_bytes,
    format: bytes,
    words: (value) => `${bytes(value)} when loaded`,
    moreIsBetter: false,
  },
};

export function variants(container, { query }) {
  const state = {
    task: query.get("task"),
    wanted: pairOf(query),
    axis: Object.hasOwn(AXES, query.get("x") ?? "") ? query.get("x") : "speed",
    lit: null,
    width: 0,
    groups: [],
    // The digests of the originals of fronts whose structures are all shown.
    showsAll: new Set(),
  };
  // The details may be here before the first width is.
  const draw = () => state.details && state.width && render(template(state, draw), container);
  const open = async () => {
    render(html`${heading("Variants", LEAD)}${loading(6)}`, container);
    try {
      await load(state);
      draw();
    } catch (error) {
      render(problem(error, open), container);
    }
  };
  open();
  return onWidth(container, (width) => {
    state.width = width;
    draw();
  });
}

const LEAD = "What each variant costs, and what it keeps of its base model.";

async function load(state) {
  const { variants: list, pairs, fronts } = await getJson("/variants");
  state.fronts = fronts;
  state.tasks = Object.fromEntries(Object.entries(TASKS).filter(([task]) => list.some((each) => each.task === task)));
  if (!Object.hasOwn(state.tasks, state.task ?? "")) state.task = Object.keys(state.tasks)[0];
  const detail = (each) => getJson(`/variants/${each.task}/${encodeURIComponent(each.variant)}`);
  state.details = await Promise.all(list.map(detail));
  // What cannot be read says no languages.
  const readable = list.filter((each) => each.languages.length);
  state.languagesOf = (task, wanted) => new LanguageChoice(readable, pairs, task, wanted);
  state.languages = state.languagesOf(state.task, state.wanted);
}

function template(state, draw) {
  const changed = () => {
    replaceAddress(link(["variants"], { task: state.task, ...state.languages.query, x: state.axis }));
    draw();
  };
  const chooseTask = (task) => {
    Object.assign(state, { task, languages: state.languagesOf(task) });
    changed();
  };
  const chooseAxis = (axis) => {
    state.axis = axis;
    changed();
  };
  const ofTask = state.details.filter((each) => each.task === state.task);
  const unreadable = ofTask.filter((each) => !each.manifest);
  const details = ofTask.filter((each) => each.manifest && serves(each, state.languages.pair));
  const groups = lineage(details);
  const choices = html`<div class="choices">
    ${state.languages.template(changed)} ${segments("task", "Task", state.tasks, state.task, chooseTask)}
  </div>`;
  return html`${heading("Variants", LEAD, choices)}
  ${groups.map((root) => group(root, marks(details), state, draw, chooseAxis, groups.length > 1))}
  ${unreadable.map(
    (each) =>
      html`<div class="problem">
        <p class="problem-title">${each.variant}</p>
        <p>${each.error}</p>
      </div>`,
  )}`;
}

function group(root, own, state, draw, chooseAxis, isOneOfSeveral) {
  const all = flatten(root).map((node) => node.detail);
  const light = (name) => {
    if (state.lit === name) return;
    state.lit = name;
    draw();
  };
  const id = `root-${root.detail.variant}`;
  const page = { width: state.width, lit: state.lit, light, showsAll: state.showsAll, draw };
  const fronts = state.fronts.filter((front) => front.task === state.task && all.some((each) => each.variant === front.original));
  return html`<section class="root" aria-labelledby=${id}>
    <h2 id=${id} class=${isOneOfSeveral ? "" : "visually-hidden"}>
      Variants of ${root.detail.variant}
    </h2>
    ${fronts.map((front) => compressFront(front, all, own, page))}
    <div class="overview">
      <div class="panel plot-panel">
        <div class="panel-top">
          <h3>Quality against ${AXES[state.axis].option.toLowerCase()}</h3>
          ${segments(`x-${id}`, "Cost", optionsOf(AXES), state.axis, chooseAxis)}
        </div>
        ${plot(all, own, state, light)}
      </div>
      <div class="panel lineage-panel">
        <div class="panel-top"><h3>Lineage</h3></div>
        <ul class="tree">
          ${branch(root, own, state, light)}
        </ul>
      </div>
    </div>
    ${table(root.detail, all, own, state, light)}
  </section>`;
}

const optionsOf = (axes) => Object.fromEntries(Object.entries(axes).map(([name, axis]) => [name, axis.option]));

function plot(all, own, state, light) {
  const axis = AXES[state.axis];
  const points = all
    .filter((each) => axis.value(each) && each.quality?.retention)
    .map((each) => {
      const { value, interval: pair } = each.quality.retention;
      return {
        name: each.variant,
        x: axis.value(each),
        y: value,
        interval: isRoot(each) ? null : pair,
        mark: own.get(each.variant),
        href: link(["variants", each.task, each.variant]),
        facts: [
          `retention ${fixed(value, 3)}${isRoot(each) ? "" : ` of ${metricName(each.quality.retention.metric)} (${interval(pair)})`}`,
          axis.words(axis.value(each)),
        ],
      };
    });
  if (points.length < 2)
    return html`<p class="empty">
      Fewer than two variants were measured. Run <code>slimseq benchmark</code> and <code>slimseq evaluate</code>.
    </p>`;
  const isWide = state.width > 900;
  const width = (isWide ? Math.floor((state.width - 24) * 0.68) : state.width) - 42;
  const missing = all
    .filter((each) => !points.some((point) => point.name === each.variant))
    .map((each) => each.variant);
  return html`${frontPlot(points, axis, { width, height: isWide ? 400 : 320 }, state.lit, light)}
    <p class="legend" aria-hidden="true">
      <span
        ><svg width="26" height="10"><line class="front" x1="0" x2="26" y1="5" y2="5"></line></svg>Pareto front</span
      >
      <span
        ><svg width="12" height="16">
          <g class="whisker tone-0">
            <line x1="6" x2="6" y1="1" y2="15"></line>
            <line x1="2" x2="10" y1="1" y2="1"></line>
            <line x1="2" x2="10" y1="15" y2="15"></line>
          </g></svg
        >95 % interval</span
      >
      <span
        ><svg width="14" height="14" viewBox="-7 -7 14 14"><circle class="hollow" r="4.5"></circle></svg>beaten by
        another</span
      >
    </p>
    ${missing.length ? html`<p class="note">Not measured beside the base model: ${missing.join(", ")}.</p>` : nothing}`;
}

function branch(node, own, state, light) {
  const { detail } = node;
  return html`<li>
    <a
      class="node ${state.lit === detail.variant ? "lit" : ""}"
      href=${link(["variants", detail.task, detail.variant])}
      @pointerenter=${() => light(detail.variant)}
      @pointerleave=${() => light(null)}>
      ${markIcon(own.get(detail.variant))}<span
        ><span class="node-name">${detail.variant}</span>
        <span class="node-steps">${stepNames(node.steps).join(" → ")}</span></span
      >
    </a>
    ${
      node.children.length
        ? html`<ul>
            ${node.children.map((child) => branch(child, own, state, light))}
          </ul>`
        : nothing
    }
  </li>`;
}

function table(base, all, own, state, light) {
  const limits = all.map(limitOf).filter((limit) => limit !== null);
  const domain = commonDomain([...all.map((each) => each.quality?.retention?.interval), limits]);
  const largest = Math.max(...all.map((each) => each.weights?.bytes ?? 0));
  const fastest = Math.max(...all.map((each) => each.speed?.speed_up ?? 0));
  const metric = all.find((each) => each.quality?.retention)?.quality.retention.metric;
  // Outputs that are summaries have no confidence.
  const isCalibrated = all.some((each) => each.confidence);
  const shared = { domain, largest, fastest, isCalibrated, state, light };
  return html`<div class="table-scroll" role="group" aria-label="Variants of ${base.variant}" tabindex="0">
      <table class="variants">
        <caption class="visually-hidden">
          Cost and quality of the variants of ${base.variant}
        </caption>
        <thead>
          <tr>
            <th scope="col">Variant</th>
            <th scope="col">Retention${metric ? ` of ${metricName(metric)}` : ""}, with 95 % interval</th>
            <th scope="col">Speed</th>
            <th scope="col">Weights</th>
            <th scope="col" class="number">Model files</th>
            <th scope="col" class="number">Memory</th>
            ${isCalibrated ? html`<th scope="col">Rank correlation</th>` : nothing}
            <th scope="col">Gate</th>
          </tr>
        </thead>
        <tbody>
          ${all.map((each) => row(each, { mark: own.get(each.variant), ...shared }))}
        </tbody>
      </table>
    </div>
    ${whyDefault(all.find((each) => each.default))}
    ${warningsAbout(all)}
    <p class="note">
      Retention is the variant's score divided by its base model's on the same samples in the same run: the lowest of all
      test sets. The triangle is the limit of the gate. <br />
      ${whereMeasured(all)} Weights are the smallest format in the artifact, as in reports; smaller compares them with the
      base model in fp32. Model files are what the runtime reads. ${isCalibrated ? RANK_CORRELATION : nothing}
    </p>`;
}

/** The machines of the speeds. A speed-up is of two figures of one run. */
function whereMeasured(all) {
  const speeds = all.map((each) => each.speed).filter(Boolean);
  const published = all.map((each) => each.published?.speed).filter(Boolean);
  const rough = speeds.some((each) => each.is_rough) ? html`<b>It was busy meanwhile: they are rough.</b>` : nothing;
  return html`${speeds.length ? html`Speed is tokens a second divided by the base model's, in one run on the same runtime, ${settings(speeds)}. ${rough}` : nothing}
    ${published.length ? html`Published speeds were measured ${settings(published)}.` : nothing} ${otherFiles(all)} <br />`;
}

/** Variants whose files are not those that were published: int8 files depend on the CPU that made them. */
function otherFiles(all) {
  const others = all.filter((each) => each.published && !each.published.is_same).map((each) => each.variant);
  return others.length ? `The published figures of ${others.join(" and ")} are of files that another kind of CPU made.` : nothing;
}

const settings = (speeds) => [...new Set(speeds.map(setting))].join("; ");

function setting({ batch, machine, is_here: isHere }) {
  const texts = batch === 1 ? "one text at a time" : `${count(batch)} texts at a time`;
  return `${isHere ? "on this machine" : "on another machine"}: ${machine}, ${texts}`;
}

/** What a reader must know before the figures: useless base models, and variants that limits cannot compare. */
function warningsAbout(all) {
  const useless = new Set(all.map((each) => each.quality?.retention?.warning).filter(Boolean));
  const leftOut = all.filter((each) => each.left_out && each.quality?.gate.verdict !== "rejected");
  return html`${[...useless].map((warning) => html`<p class="note"><b>${warning}.</b></p>`)}
  ${leftOut.map((each) => html`<p class="note"><code>min_retention</code> leaves out <b>${each.variant}</b>: ${each.left_out}.</p>`)}`;
}

const RANK_CORRELATION = html`<br />Rank correlation is that of the confidence of outputs with their quality on dev data: 1 is the right order, 0 means
  no relation. Where the interval includes 0, outputs have no confidence.`;

function rankCorrelation(calibration) {
  if (!calibration) return html`<span class="soft">not calibrated</span>`;
  return html`<b>${fixed(calibration.spearman)}</b
    ><span class="row-note">${calibration.is_used ? interval(calibration.spearman_interval, 2) : "not used"}</span>`;
}

/** The speed in tokens a second, and that of the base model in the same run on the same runtime. */
function tokensPerSecond(each) {
  const { tokens_per_second: own, base_tokens_per_second: base } = each.speed;
  return isRoot(each) || base === null ? `${count(own)} tokens/s` : `${count(own)} of ${count(base)} tokens/s`;
}

function row(each, { mark, domain, largest, fastest, isCalibrated, state, light }) {
  const retention = each.quality?.retention;
  const limit = limitOf(each);
  const tone = `tone-${mark.tone}`;
  return html`<tr
    class="${tone} ${state.lit === each.variant ? "lit" : ""}"
    @pointerenter=${() => light(each.variant)}
    @pointerleave=${() => light(null)}>
    <th scope="row">
      <a class="row-name" href=${link(["variants", each.task, each.variant])}
        >${markIcon(mark)}<span>${each.variant}</span></a
      >
      <span class="row-note">${status(each)}</span>
    </th>
    <td data-label="Retention">
      <div class="with-interval">
        ${
          retention
            ? html`${intervalBar(retention.value, isRoot(each) ? null : retention.interval, domain, { limit, tone: mark.tone })}
                <span
                  ><b>${fixed(retention.value, 3)}</b
                  ><span class="row-note">${isRoot(each) ? "the base model" : interval(retention.interval)}</span
                  >${publishedNote(fixed(retention.value, 3), fixed(each.published?.retention?.value, 3))}</span
                >`
            : html`<span class="soft">not measured</span>`
        }
      </div>
    </td>
    <td data-label="Speed" class="cost">
      <b>${times(each.speed?.speed_up)}</b>
      <span class="row-note"
        >${each.speed ? tokensPerSecond(each) : "not measured here"}</span
      >${publishedNote(times(each.speed?.speed_up), times(each.published?.speed?.speed_up))}${bar(
        (each.speed?.speed_up ?? 0) / fastest,
      )}
    </td>
    <td data-label="Weights" class="cost">
      <b>${bytes(each.weights?.bytes)}</b>
      <span class="row-note">${each.weights?.times_smaller ? `${times(each.weights.times_smaller)} smaller` : ""}</span
      >${bar((each.weights?.bytes ?? 0) / largest)}
    </td>
    <td data-label="Model files" class="number">${bytes(each.bytes)}</td>
    <td data-label="Memory" class="number">${bytes(each.speed?.resident_bytes)}</td>
    ${isCalibrated ? html`<td data-label="Rank correlation">${rankCorrelation(each.confidence)}</td>` : nothing}
    <td data-label="Gate">${gateMark(each.quality?.gate)}</td>
  </tr>`;
}

/** What the documentation's tables say, where it reads differently. The notes below name its machine. */
const publishedNote = (own, published) =>
  published === own || published === DASH ? nothing : html`<span class="row-note published">published ${published}</span>`;

/** The limit of a gate on the retention that is shown, null where the gate judges another metric or none. */
function limitOf({ quality }) {
  const metric = quality?.retention?.metric;
  return quality?.gate.checks.find((check) => check.metric && check.metric === metric)?.limit ?? null;
}

function status(each) {
  const words = [each.status === "loaded" ? "in memory" : each.status];
  if (each.default) words.unshift("default");
  return words.join(", ");
}
