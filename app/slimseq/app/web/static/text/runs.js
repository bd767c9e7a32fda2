// The last runs of the playground, kept in this browser until the visitor clears them.

const ITEM = "slimseq-runs";
const MAX_RUNS = 10;
// Where storage is blocked, they last until the page is left.
let runs = [];

export function lastRuns() {
  try {
    runs = JSON.parse(localStorage.getItem(ITEM)) ?? runs;
  } catch {
    // As above.
  }
  return runs;
}

/** Keeps a run, `{at, task, text, format, protect, answers}`, and forgets the same one and the oldest. */
export function keepRun(run) {
  const identity = ({ at, answers, ...asked }) => JSON.stringify([asked, Object.keys(answers)]);
  runs = [run, ...lastRuns().filter((each) => identity(each) !== identity(run))].slice(0, MAX_RUNS);
  for (let count = runs.length; count > 0; count -= 1) {
    try {
      return localStorage.setItem(ITEM, JSON.stringify(runs.slice(0, count)));
    } catch {
      // Long texts fill the storage: fewer are kept.
    }
  }
}

export function clearRuns() {
  runs = [];
  try {
    localStorage.removeItem(ITEM);
  } catch {
    // As above.
  }
}
