/**
 * What of a query can be marked in the lines that it found. The hub decides what matches; this reads
 * the same words (docs/logs.md) only to show where.
 */

/** Marks at most so many terms. */
const MOST_TERMS = 20;

const TERM = /(-?)(?:"((?:[^"\\]|\\.)*)"|\/((?:[^/\\]|\\.)+)\/(i?)|([^\s"]+(?:"[^"]*")?))/g;

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** A pattern for the words, phrases and tame regular expressions of a query; not those shut out. */
export function marks(query: string): RegExp | undefined {
  const parts: string[] = [];
  for (const [, not, phrase, regex, , word] of query.matchAll(TERM)) {
    if (not || parts.length >= MOST_TERMS) continue;
    if (phrase !== undefined) parts.push(spaced(phrase.replace(/\\(.)/g, "$1")));
    else if (regex !== undefined) {
      const read = tame(regex);
      if (read) parts.push(read);
    } else if (word !== undefined && !/^[\w.-]+(?:[:=<>])/.test(word)) {
      const begin = word.endsWith("*");
      parts.push(spaced(begin ? word.slice(0, -1) : word) + (begin ? "\\w*" : ""));
    }
  }
  const wanted = parts.filter((part) => part !== "" && part !== "\\w*");
  if (wanted.length === 0) return undefined;
  return new RegExp(wanted.map((part) => `(?:${part})`).join("|"), "gi");
}

/** Words in a row, whatever stands between them. */
function spaced(text: string): string {
  return (text.match(/[\p{L}\p{N}_]+/gu) ?? []).map(escaped).join("[^a-z0-9_]+");
}

/** How often a part may be repeated in a row where matches are marked. */
const MOST_REPEATS = 100;

const REPEATS = /\\.|\[(?:[^\]\\]|\\.)*\]|[*+?]|\{\d+,\d*\}/g;

/**
 * A regular expression that the browser may run on every line. It goes back and tries again, so that
 * two repeats (`.*.*x`) hold up the tab for seconds a line, and nested ones for ever: one repeat is
 * taken, up to a length, and few parts that may be missing. The hub's own cannot be held up.
 */
function tame(source: string): string | undefined {
  if (/[)][*+{]/.test(source.replace(/\\./g, "x"))) return undefined;
  let [repeats, maybes] = [0, 0];
  let quantified = false;
  const bounded = source.replace(REPEATS, (part, at: number) => {
    // The mark of a lazy repeat, or of a group that is not captured.
    const group = source[at - 1] === "(" && source[at - 2] !== "\\";
    const mark = part === "?" && (quantified || group);
    quantified = false;
    if (part.length > 1 && !part.startsWith("{")) return part;
    if (mark) return part;
    if (part === "?") {
      maybes += 1;
      return part;
    }
    quantified = /^[?]/.test(source.slice(at + part.length));
    repeats += 1;
    if (part === "*") return `{0,${MOST_REPEATS}}`;
    if (part === "+") return `{1,${MOST_REPEATS}}`;
    const [least = 0] = part.match(/\d+/g)?.map(Number) ?? [];
    return least > MOST_REPEATS ? part : `{${least},${MOST_REPEATS}}`;
  });
  if (repeats > 1 || maybes > 4) return undefined;
  try {
    void new RegExp(bounded);
    return bounded;
  } catch {
    return undefined;
  }
}
