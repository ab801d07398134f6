/** A container's stored lines by pages: before one that is held, after one, around an instant. */
import { page, type Parameters, type StoredLine } from "./stored";
import type { LogFilters } from "../live/types";
import { readStamp } from "./words";

/** Lines of a page. */
export const PAGE = 1_000;

/** The numbering of stored lines in the ring: their own, not that of the live stream. */
export const STORED_EPOCH = "stored";

export class History {
  #q = "";

  /** `of`: what to search the store by. */
  constructor(readonly of: Parameters) {}

  filter(filters: LogFilters | undefined): void {
    this.#q = filters ? queryText(filters) : "";
  }

  /** The newest lines up to a millisecond after an instant, the oldest first; and whether older ones are. */
  async before(at: number, signal: AbortSignal): Promise<{ lines: StoredLine[]; more: boolean }> {
    const to = Number.isFinite(at) ? stamp(at + 1) : undefined;
    const { lines, cursor } = await this.#page({ order: "newest", to }, signal);
    return { lines: lines.reverse(), more: cursor !== null };
  }

  /** The lines from an instant on, it included. */
  async after(at: number, signal: AbortSignal): Promise<{ lines: StoredLine[]; more: boolean }> {
    const { lines, cursor } = await this.#page({ order: "oldest", from: stamp(at) }, signal);
    return { lines, more: cursor !== null };
  }

  /** Behind a line in either order. */
  async beyond(
    place: string,
    order: "newest" | "oldest",
    signal: AbortSignal,
  ): Promise<{ lines: StoredLine[]; more: boolean }> {
    const { lines, cursor } = await this.#page({ order, cursor: place }, signal);
    return { lines: order === "newest" ? lines.reverse() : lines, more: cursor !== null };
  }

  /** What to search the store by for all of it. */
  all(): Parameters {
    return { ...this.of, q: this.#q };
  }

  #page(asked: Parameters, signal: AbortSignal): ReturnType<typeof page> {
    return page({ ...asked, ...this.all(), limit: String(PAGE) }, signal);
  }
}

/** An instant for the hub, to the microsecond. */
function stamp(at: number): string {
  const micros = String(Math.floor((at - Math.floor(at)) * 1_000)).padStart(3, "0");
  return new Date(Math.floor(at)).toISOString().replace("Z", `${micros}Z`);
}

/** A place just before that of a line: behind it, oldest first, that line comes first. */
export function placeBefore(place: string): string | undefined {
  const match = /^(-?\d{1,20})\.([0-9a-f]{1,16})\.(\d{1,20})$/.exec(place);
  if (!match) return undefined;
  const [, time = "", stream, number = ""] = match;
  const before = BigInt(number) - 1n;
  return before >= 0n ? `${time}.${stream}.${before}` : `${BigInt(time) - 1n}.${stream}.0`;
}

/** The live filters in the query language of the store. */
export function queryText(filters: LogFilters): string {
  const not = filters.inverse ? "-" : "";
  const terms = [
    filters.level && `level>=${filters.level}`,
    filters.text && `${not}${regexTerm(filters.text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "i")}`,
    filters.regex && `${not}${regexTerm(filters.regex, "")}`,
    filters.stream && `stream=${filters.stream}`,
    ...Object.entries(filters.fields ?? {}).map(
      ([name, value]) => `field.${name}="${value.replace(/["\\]/g, "\\$&")}"`,
    ),
  ];
  return terms.filter(Boolean).join(" ");
}

function regexTerm(source: string, flags: string): string {
  // A slash ends a term, unless it has a backslash before it.
  return `/${source.replace(/\\.|\//gs, (part) => (part === "/" ? "\\/" : part))}/${flags}`;
}

/**
 * Of stored lines those that come before the oldest live one, `first`. It is looked for among them,
 * for lines of one moment have one time; where it is not stored the time must do.
 */
export function olderThan(
  stored: readonly StoredLine[],
  first: { at: number; message: string },
): StoredLine[] {
  const seam = stored.findLastIndex(
    (line) => line.message === first.message && Math.abs(readStamp(line.timestamp) - first.at) < 1,
  );
  if (seam >= 0) return stored.slice(0, seam);
  return stored.filter((line) => readStamp(line.timestamp) < first.at);
}
