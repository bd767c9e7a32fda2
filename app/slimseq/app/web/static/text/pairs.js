// Reads a client's own pairs: JSON lines with the two keys of the task, or two columns separated by a tab.

export const PAIR_KEYS = { translation: ["source", "target"], summarization: ["document", "summary"] };

/**
 * Parses pairs.
 *
 * @returns `{pairs}`, or `{error}` that names the line.
 */
export function parsePairs(task, text) {
  const keys = PAIR_KEYS[task];
  const pairs = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (!line.trim()) continue;
    const fail = (reason) => ({ error: `Line ${index + 1}: ${reason}` });
    let pair;
    if (line.trimStart().startsWith("{")) {
      try {
        pair = JSON.parse(line);
      } catch {
        return fail("is not JSON.");
      }
      if (keys.some((key) => typeof pair[key] !== "string")) return fail(`needs the texts ${keys[0]} and ${keys[1]}.`);
      pair = { [keys[0]]: pair[keys[0]], [keys[1]]: pair[keys[1]] };
    } else {
      const columns = line.split("\t");
      if (columns.length !== 2) return fail(`needs two columns, ${keys[0]} and ${keys[1]}, separated by a tab.`);
      pair = { [keys[0]]: columns[0], [keys[1]]: columns[1] };
    }
    pairs.push(pair);
  }
  return pairs.length ? { pairs } : { error: "There are no pairs." };
}
