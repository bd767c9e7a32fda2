// How far two outputs agree: the words that differ, and agreement between 0 and 1.

import { diffArrays } from "../vendor/diff/libesm/diff/array.js";
import { markupOf } from "./structure.js";

const PIECES = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;
const WORDS = /[a-z0-9]+/g;
// chrF: orders of character n-grams, and the weight of recall (https://aclanthology.org/W15-3049).
const CHRF_ORDERS = 6;
const CHRF_BETA = 2;

/**
 * Splits two texts into pieces `{text, kind}`; `added` is in the output alone, `removed` in the reference alone.
 *
 * @param format of both. A tag, or other markup, is not divided.
 */
export function wordDiff(reference, output, format = "text") {
  return diffArrays(pieces(format, reference), pieces(format, output)).map((part) => ({
    text: part.value.join(""),
    kind: part.added ? "added" : part.removed ? "removed" : "same",
  }));
}

function pieces(format, text) {
  const found = [];
  let position = 0;
  for (const { start, end } of markupOf(format, text)) {
    found.push(...(text.slice(position, start).match(PIECES) ?? []), text.slice(start, end));
    position = end;
  }
  return [...found, ...(text.slice(position).match(PIECES) ?? [])];
}

/** Agreement of an output with the reference's: chrF for translations, ROUGE-L for summaries, as shares. */
export function agreement(task, reference, output) {
  if (reference === output) return 1;
  return task === "translation" ? chrf(reference, output) : rougeL(reference, output);
}

export const AGREEMENT_METRIC = { translation: "chrF", summarization: "ROUGE-L" };

/** The character F-score of a sentence, as sacreBLEU computes it by default. */
function chrf(reference, output) {
  const [own, wanted] = [output.replace(/\s+/g, ""), reference.replace(/\s+/g, "")];
  let precision = 0;
  let recall = 0;
  let orders = 0;
  for (let order = 1; order <= CHRF_ORDERS; order += 1) {
    const [counts, references] = [ngrams(own, order), ngrams(wanted, order)];
    const [total, totalReference] = [sum(counts), sum(references)];
    if (total === 0 || totalReference === 0) continue;
    let matches = 0;
    for (const [gram, number] of counts) matches += Math.min(number, references.get(gram) ?? 0);
    precision += matches / total;
    recall += matches / totalReference;
    orders += 1;
  }
  if (orders === 0 || precision + recall === 0) return 0;
  const weight = CHRF_BETA ** 2;
  return ((1 + weight) * precision * recall) / ((weight * precision + recall) * orders);
}

function ngrams(text, order) {
  const characters = [...text];
  const counts = new Map();
  for (let start = 0; start + order <= characters.length; start += 1) {
    const gram = characters.slice(start, start + order).join("");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

const sum = (counts) => [...counts.values()].reduce((total, each) => total + each, 0);

/** The F-score of the longest common subsequence of words. */
function rougeL(reference, output) {
  const [wanted, own] = [reference, output].map((text) => text.toLowerCase().match(WORDS) ?? []);
  const common = diffArrays(wanted, own).reduce(
    (total, part) => total + (part.added || part.removed ? 0 : part.value.length),
    0,
  );
  return wanted.length + own.length === 0 ? 0 : (2 * common) / (wanted.length + own.length);
}
