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

/**
 * A regular expression that the browser may run on every line: it goes back and tries again, so that
 * what is nested or repeated often could hold up the tab. The hub's own cannot.
 */
function tame(source: string): string | undefined {
  const repeats = source.replace(/\\.|\[(?:[^\]\\]|\\.)*\]/g, "x").match(/[*+]|\{\d+,\d*\}/g) ?? [];
  if (repeats.length > 2 || /[)][*+{]/.test(source.replace(/\\./g, "x"))) return undefined;
  try {
    void new RegExp(source);
    return source;
  } catch {
    return undefined;
  }
}
