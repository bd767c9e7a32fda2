// The languages of variants: their names, and the choice of a pair. What one pair of languages serves is compared; an
// output in another language says nothing about it.

import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { TASKS } from "./format.js";
import { isRoot } from "./parts.js";

// Beside base models, these are chosen at first.
const FIRST_CHOICE = /(^|-)(quantized|compact)$/;

const names = new Intl.DisplayNames(["en"], { type: "language" });

/** The name of a language by its code: `German` for `de`. */
export function languageName(code) {
  try {
    return names.of(code.replaceAll("_", "-"));
  } catch {
    // It is no code of a language, such as a name that a model's author chose.
    return code;
  }
}

/** The name of a pair: `English to German`. A summary has one language. */
export const pairName = (languages) => languages.map(languageName).join(" to ");

/** The task of a job in words, with the languages of a translation: `English to German`. */
export const taskName = ({ task, languages }) =>
  task === "translation" && languages ? `Translation, ${pairName(languages)}` : TASKS[task];

/** The pair that a variant serves without being asked for another one. */
export const ownPair = ({ task, languages }) => (task === "translation" ? languages.slice(0, 2) : languages);

const isSame = (pair, other) => pair.length === other.length && pair.every((code, index) => code === other[index]);

/** Whether a variant serves a pair. A model of many languages serves many. */
export function serves(variant, pair) {
  if (isSame(ownPair(variant), pair)) return true;
  const [source, target] = pair;
  return (
    variant.task === "translation" &&
    source !== target &&
    variant.sources.includes(source) &&
    variant.targets.includes(target)
  );
}

/** The variants beside which those of a job are shown: those of its pair of languages, where it has one. */
export const besides = (variants, { task, languages, names }) =>
  variants.filter(
    (each) => each.task === task && (!languages || serves(each, languages) || names.includes(each.variant)),
  );

/** Whether data is in the languages of a pair. Regions do not matter: `pt` is for a model of `pt_BR` too. */
export const isInLanguages = (languages, pair) => isSame(languages.map(base), pair.map(base));

const base = (code) => code.split(/[-_]/)[0].toLowerCase();

/** The pair that an address names: without a source, if it names the target alone. Null if it names none. */
export function pairOf(query) {
  const [source, target] = [query.get("source"), query.get("target")];
  return source || target ? [source, target] : null;
}

/** The pairs of languages of a task, and the chosen one. */
export class LanguageChoice {
  /**
   * @param variants those that are offered.
   * @param pairs the defaults that `GET /variants` lists.
   * @param wanted a pair to begin with, if a variant serves it. Of a translation it may be without a source. Else it is
   *   the pair that answers where a request names none.
   */
  constructor(variants, pairs, task, wanted = null) {
    this.task = task;
    this.defaults = pairs.filter((each) => each.task === task);
    this.all = variants.filter((each) => each.task === task);
    const usual = this.defaults.find((each) => each.is_default)?.languages;
    const first = this.all.length ? ownPair(this.all[0]) : [];
    this.choose([wanted && this.complete(wanted), usual].find((pair) => pair && this.isServed(pair)) ?? first);
  }

  /** A pair with the source that it lacks: that of the first variant that translates into its target. */
  complete([source, target]) {
    if (source) return target ? [source, target] : [source];
    return [this.all.find((each) => each.targets.includes(target))?.sources[0], target];
  }

  choose(pair) {
    this.pair = pair;
    this.variants = this.all.filter((each) => serves(each, pair));
  }

  isServed(pair) {
    return this.all.some((each) => serves(each, pair));
  }

  /** The variant that answers requests for the pair, and where none may, the first of its variants. */
  get default() {
    const name = this.defaults.find((each) => isSame(each.languages, this.pair))?.variant;
    return this.variants.find((each) => each.variant === name) ?? this.variants[0];
  }

  /** The names that are chosen at first: of the base model of the default, it and two that were made from it. */
  get first() {
    const base = this.default.reference?.digest;
    const related = this.variants.filter((each) => each.reference?.digest === base);
    const found = related.filter((each) => isRoot(each) || FIRST_CHOICE.test(each.variant));
    return (found.length > 1 ? found : this.variants).map((each) => each.variant);
  }

  /** Whether there is a choice: a pair beside the chosen one. */
  get isOpen() {
    return this.all.some((each) => !isSame(ownPair(each), this.pair) || each.sources.length * each.targets.length > 1);
  }

  /** The pair for the address of a view. Nothing where there is no other one. */
  get query() {
    if (!this.isOpen) return {};
    const [source, target] = this.pair;
    return { source, target };
  }

  /** Whether variants of these names serve the pair without being asked for it. */
  isOwnOf(names) {
    return this.variants.every((each) => !names.includes(each.variant) || isSame(ownPair(each), this.pair));
  }

  /** Draws the choice, and a plain label where there is none. `change` is called after another pair was chosen. */
  template(change) {
    if (!this.pair.length) return nothing;
    if (!this.isOpen) return html`<p class="languages soft">${pairName(this.pair)}</p>`;
    const choose = (pair) => {
      this.choose(pair);
      change();
    };
    return html`<div class="languages" role="group" aria-label="Languages">
      ${this.task === "translation" ? this.sourceAndTarget(choose) : this.oneOfSeveral(choose)}
    </div>`;
  }

  sourceAndTarget(choose) {
    const [source, target] = this.pair;
    const sources = unique(this.all.flatMap((each) => each.sources));
    const targetsOf = (from) =>
      unique(this.all.filter((each) => each.sources.includes(from)).flatMap((each) => each.targets)).filter(
        (to) => to !== from,
      );
    const chooseSource = (from) => {
      const targets = targetsOf(from);
      choose([from, targets.includes(target) ? target : targets[0]]);
    };
    return html`${selection("From", sources, source, chooseSource)}<span>to</span>${selection(
      "To",
      targetsOf(source),
      target,
      (to) => choose([source, to]),
    )}`;
  }

  /** Summaries are in the language of the text, so a pair is one language. */
  oneOfSeveral(choose) {
    const pairs = new Map(this.all.map((each) => [each.languages.join(" "), each.languages]));
    return selection("Language", [...pairs.keys()], this.pair.join(" "), (key) => choose(pairs.get(key)), (key) =>
      pairName(pairs.get(key)),
    );
  }
}

const unique = (codes) => [...new Set(codes)];

/** A choice of one language; its name alone where there is no other one. */
function selection(label, codes, chosen, choose, nameOf = languageName) {
  if (codes.length === 1) return html`<span>${nameOf(codes[0])}</span>`;
  const named = codes.map((code) => [code, nameOf(code)]).sort(([, a], [, b]) => a.localeCompare(b));
  return html`<select aria-label=${label} @change=${(event) => choose(event.target.value)}>
    ${named.map(([code, name]) => html`<option value=${code} .selected=${code === chosen}>${name}</option>`)}
  </select>`;
}
