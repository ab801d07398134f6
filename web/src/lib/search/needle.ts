/**
 * What of a query can be marked in the lines that it found. The hub decides what matches; this reads
 * the same words (docs/logs.md) only to show where.
 */

import { Regex, type Pattern } from "../regex/regex";

/** Marks at most so many terms. */
const MOST_TERMS = 20;

const TERM = /(-?)(?:"((?:[^"\\]|\\.)*)"|\/((?:[^/\\]|\\.)+)\/(i?)|([^\s"]+(?:"[^"]*")?))/g;

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/** A pattern for the words, phrases and regular expressions of a query; not those shut out. */
export function marks(query: string): Pattern | undefined {
  const parts: string[] = [];
  for (const [, not, phrase, regex, , word] of query.matchAll(TERM)) {
    if (not || parts.length >= MOST_TERMS) continue;
    if (phrase !== undefined) parts.push(spaced(phrase.replace(/\\(.)/g, "$1")));
    else if (regex !== undefined) {
      if (readable(regex)) parts.push(regex);
    } else if (word !== undefined && !/^[\w.-]+(?:[:=<>])/.test(word)) {
      const begin = word.endsWith("*");
      parts.push(spaced(begin ? word.slice(0, -1) : word) + (begin ? "\\w*" : ""));
    }
  }
  const wanted = parts.filter((part) => part !== "" && part !== "\\w*");
  if (wanted.length === 0) return undefined;
  const source = wanted.map((part) => `(?:${part})`).join("|");
  return readable(source) ? new Regex(source, "i") : undefined;
}

/** Words in a row, whatever stands between them. */
function spaced(text: string): string {
  return (text.match(/[\p{L}\p{N}_]+/gu) ?? []).map(escaped).join("[^a-z0-9_]+");
}

/** Whether it can be looked for here, and not only by the hub. */
function readable(source: string): boolean {
  try {
    void new Regex(source, "i");
    return true;
  } catch {
    return false;
  }
}
