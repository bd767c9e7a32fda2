// Where a variant loses most: the slices of its test sets with the lowest retention, as in its model card.

import { html, nothing } from "../vendor/lit-html/lit-html.js";
import { commonDomain, drawnInterval } from "../charts/interval.js";
import { count } from "../format.js";

const SHOWN = 3;
const DIMENSIONS = { origin: "origin", length: "length", rare_words: "rare words" };

export function slices({ manifest }, mark) {
  const all = recorded(manifest.quality);
  const shown = all.toSorted((a, b) => a.retention - b.retention).slice(0, SHOWN);
  if (!shown.length) return nothing;
  const domain = commonDomain(shown.map((each) => each.retention_interval));
  return html`<section>
    <h2>Where it loses most</h2>
    <div class="table-scroll" role="group" aria-label="Where it loses most" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col" class="slice">Slice</th>
            <th scope="col">Retention, with 95 % interval</th>
            <th scope="col">Data set</th>
            <th scope="col" class="number">Samples</th>
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (each) =>
              html`<tr>
                <th scope="row" class="slice">${DIMENSIONS[each.dimension] ?? each.dimension}: ${each.name}</th>
                <td>${drawnInterval(each.retention, each.retention_interval, domain, { tone: mark.tone })}</td>
                <td>${each.dataset}</td>
                <td class="number soft">${count(each.samples)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p class="note">
      The slices with the lowest retention, of ${all.length}. The lowest of many is low by chance too: believe one whose
      interval is below the retention of all samples.
    </p>
  </section>`;
}

/** All slices, each with its data set. Of several scores on one data set, the one measured last counts. */
function recorded(quality) {
  const latest = new Map();
  const scores = quality.filter((score) => score.slices?.length);
  for (const score of scores.toSorted((a, b) => a.measured_at.localeCompare(b.measured_at)))
    latest.set(`${score.dataset} ${score.split}`, score);
  return [...latest.values()].flatMap((score) => score.slices.map((each) => ({ ...each, dataset: score.dataset })));
}
