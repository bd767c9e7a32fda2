// The markup of HTML and Markdown: where it is in a text, and whether two texts have the same. It reads, and parses
// nothing: it is there to look at outputs. The service keeps the structure with parsers.

export const FORMATS = { text: "Text", html: "HTML", markdown: "Markdown" };

// What is not closed goes to the end, so that no text takes long.
const TAG = String.raw`<!--[\s\S]*?(?:-->|(?![\s\S]))|<[!?/]?[a-zA-Z](?:"[^"]*"|'[^']*'|[^'"<>])*>`;
const PATTERNS = {
  html: new RegExp(`(?<tag>${TAG})`, "gu"),
  // The name of a group is the name of what it finds. `end`, `sign`, `bar` and `quote_line` belong to something else.
  markdown: new RegExp(
    [
      String.raw`(?<sign>\\[\s\S])`,
      String.raw`(?<code_block>^[ \t]*(?<fence>\x60{3,}|~{3,})[^\n]*\n[\s\S]*?(?:^[ \t]*\k<fence>[\x60~]*[ \t]*$|(?![\s\S])))`,
      String.raw`(?<code>(?<!\x60)(?<ticks>\x60+)(?!\x60)[\s\S]*?[^\x60]\k<ticks>(?!\x60))`,
      String.raw`(?<table>^[ \t>]*(?:\|[ \t]*)?:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)+\|?[ \t]*$)`,
      String.raw`(?<table_row>^[ \t>]*\|)|(?<heading>^[ \t>]*#{1,6}(?=[ \t]))`,
      String.raw`(?<list_item>^[ \t>]*(?:[-*+]|\d{1,9}[.)])(?=[ \t]))|(?<quote_line>(?<=^[ \t]*>[^\n]*\n)[ \t]*>[ \t>]*)|(?<quote>^[ \t]*>[ \t>]*)`,
      String.raw`(?<image>!\[(?=[^[\]\n]*\]\())|(?<link>\[(?=[^[\]\n]*\]\())`,
      String.raw`(?<end>\]\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+"[^"\n]*")?\))`,
      `(?<tag>${TAG})`,
      String.raw`(?<strikethrough>~~)`,
      String.raw`(?<emphasis>(?<![\p{L}\p{N}*_])[*_]{1,3}(?=[^\s*_])|(?<=[^\s*_])(?:\*{1,3}|_{1,3}(?![\p{L}\p{N}])))`,
      String.raw`(?<bar>\|)`,
    ].join("|"),
    "gmu",
  ),
};
const EMPHASIS = ["", "italic", "bold", "bold italic"];

/**
 * Finds the markup of a text.
 *
 * @returns ranges `{start, end, name, key}` in order. `name` is what is counted, null for the end of something. Equal
 *   markup has equal keys, null where it need not be the same.
 */
export function markupOf(format, text) {
  const pattern = PATTERNS[format];
  if (!pattern) return [];
  return [...text.matchAll(pattern)].map((match) => {
    const [kind] = Object.entries(match.groups).find(
      ([name, value]) => value !== undefined && name !== "fence" && name !== "ticks",
    );
    return { start: match.index, end: match.index + match[0].length, ...described(kind, match[0]) };
  });
}

function described(kind, text) {
  if (kind === "sign" || kind === "bar" || kind === "quote_line") return { name: null, key: null };
  // The service writes the bars of a table on both sides.
  if (kind === "table_row") return { name: "table row", key: null };
  if (kind === "end") return { name: null, key: text };
  if (kind === "tag") {
    const [, tag, isAddress] = /^<([a-zA-Z][\w-]*)(:)?/.exec(text) ?? [];
    return { name: isAddress ? "link" : (tag?.toLowerCase() ?? null), key: text };
  }
  // Either sign may stand for emphasis.
  if (kind === "emphasis") return { name: EMPHASIS[text.length], key: EMPHASIS[text.length] };
  const name = kind.replace("_", " ");
  // The service may indent code in lists in another way.
  return { name, key: kind.startsWith("code") || kind === "heading" ? text.replace(/^[ \t]+|[ \t]+$/gm, "") : name };
}

/**
 * Compares the markup of a text and of its translation. Its order may differ, since words move.
 *
 * @returns `{counts, differing}`: lists of `[name, count]` of the text, and of `[markup, in the text, in the output]`.
 */
export function compareStructure(format, source, output) {
  const [wanted, found] = [markupOf(format, source), markupOf(format, output)];
  const [own, other] = [counted(wanted, "key"), counted(found, "key")];
  const keys = new Set([...own.keys(), ...other.keys()]);
  const differing = [...keys]
    .filter((key) => own.get(key) !== other.get(key))
    .map((key) => [key, number(key, own.get(key)), number(key, other.get(key))]);
  const counts = [...counted(wanted, "name")].map(([name, signs]) => [name, number(name, signs)]);
  return { counts, differing };
}

// These have the same sign before and after: two are one.
const PAIRED = new Set([...EMPHASIS, "strikethrough"]);
const number = (name, signs = 0) => (PAIRED.has(name) ? Math.floor(signs / 2) : signs);

function counted(ranges, field) {
  const counts = new Map();
  for (const { [field]: value } of ranges) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** The words of a text, without its markup. */
export function wordsOf(format, text) {
  let words = "";
  let position = 0;
  for (const { start, end } of markupOf(format, text)) {
    words += `${text.slice(position, start)} `;
    position = end;
  }
  return words + text.slice(position);
}
