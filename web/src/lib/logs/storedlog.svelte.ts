/** The stored log of a container, also of one that is gone: pages around what somebody looks at. */
import { Emitter } from "../live/emitter";
import type { LogFilters, LogLine } from "../live/types";
import { History, placeBefore, STORED_EPOCH } from "./history";
import { BASE, LogRing } from "./ring";
import type { LogSource } from "./source";
import type { Parameters, StoredLine } from "./stored";
import { markerText, readStamp } from "./words";

/** At the end new lines are looked for so often at most, milliseconds. */
const LOOK_MS = 2_000;

/** What the log is opened at: a line, an instant, or its end. */
export type Start = { place: string } | { at: number } | undefined;

export class StoredLog implements LogSource {
  state = $state<"waiting" | "open" | "unavailable">("waiting");
  trouble = $state<string>();
  wrong = $state<string>();
  begins = $state<boolean>();
  /** Whose lines these are, as the newest of them says. */
  of = $state.raw<StoredLine>();

  readonly live = false;
  readonly ring = new LogRing(undefined, undefined, BASE);
  readonly changed = new Emitter<void>();
  /** The position to show, once it is there. */
  readonly opened = new Emitter<number>();

  #history: History;
  #start: Start;
  #filters = "";
  #first: string | undefined;
  #last: string | undefined;
  #ended = false;
  #lookedAt = 0;
  #abort: AbortController | undefined;
  #busy = false;

  constructor(stream: string, start: Start) {
    this.#history = new History({ stream });
    this.#start = start;
  }

  /** Begins; gives what ends it. */
  watch(): () => void {
    void this.#open();
    return () => this.#abort?.abort();
  }

  filter(filters: LogFilters | undefined): void {
    const text = JSON.stringify(filters) ?? "";
    if (text === this.#filters) return;
    this.#filters = text;
    this.#history.filter(filters);
    void this.#open();
  }

  stored(): Parameters {
    return this.#history.all();
  }

  retry(): void {
    void this.#open();
  }

  reach(at: number): boolean {
    const { ring } = this;
    const inside = ring.length > 0 && at >= ring.at(ring.first) && at <= ring.at(ring.end - 1);
    if (inside) return false;
    this.#start = { at };
    void this.#open();
    return true;
  }

  older(): void {
    const first = this.#first;
    if (this.#busy || this.begins === true || first === undefined) return;
    void this.#get(async (signal) => {
      const { lines, more } = await this.#history.beyond(first, "newest", signal);
      const taken = this.ring.prepend(lines.map(told), stamp, STORED_EPOCH);
      // Where there is no more room one goes on from a line further back.
      this.begins = !more || taken < lines.length;
      this.#first = lines[0]?.place ?? first;
    });
  }

  newer(): void {
    const last = this.#last;
    if (this.#busy || last === undefined) return;
    if (this.#ended && Date.now() - this.#lookedAt < LOOK_MS) return;
    void this.#get(async (signal) => {
      const { lines, more } = await this.#history.beyond(last, "oldest", signal);
      this.#lookedAt = Date.now();
      this.#ended = !more;
      this.#push(lines);
    });
  }

  async #open(): Promise<void> {
    this.#abort?.abort();
    this.#busy = false;
    await this.#get(async (signal) => {
      const start = this.#start;
      const history = this.#history;
      let before: { lines: StoredLine[]; more: boolean };
      let after: { lines: StoredLine[]; more: boolean } = { lines: [], more: false };
      if (start && "place" in start) {
        const from = placeBefore(start.place) ?? start.place;
        [before, after] = await Promise.all([
          history.beyond(start.place, "newest", signal),
          history.beyond(from, "oldest", signal),
        ]);
      } else if (start) {
        [before, after] = await Promise.all([
          history.before(start.at, signal),
          history.after(start.at, signal),
        ]);
        // A line at the very instant is in both.
        const seen = new Set(after.lines.map(({ place }) => place));
        before.lines = before.lines.filter(({ place }) => !seen.has(place));
      } else {
        before = await history.before(Infinity, signal);
      }
      this.ring.clear();
      this.ring.begin(STORED_EPOCH);
      this.#first = this.#last = undefined;
      this.begins = !before.more;
      this.#ended = !after.more;
      this.#lookedAt = Date.now();
      this.#push(before.lines);
      const position = this.ring.end;
      this.#push(after.lines);
      this.state = "open";
      this.changed.emit();
      if (start && this.ring.length > 0) {
        this.opened.emit(Math.min(position, this.ring.end - 1));
      }
    });
  }

  #push(lines: readonly StoredLine[]): void {
    for (const line of lines) this.ring.push(told(line), stamp(line));
    this.#first ??= lines[0]?.place;
    const last = lines.at(-1);
    this.#last = last?.place ?? this.#last;
    if (last) this.of = last;
  }

  async #get(what: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const abort = (this.#abort = new AbortController());
    this.#busy = true;
    try {
      await what(abort.signal);
      this.trouble = this.wrong = undefined;
    } catch (error) {
      if (abort.signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      if (message.startsWith("q:")) this.wrong = message;
      else {
        this.trouble = message;
        this.state = "unavailable";
      }
    } finally {
      if (this.#abort === abort) this.#busy = false;
    }
    this.changed.emit();
  }
}

const stamp = (line: { timestamp: string }) => readStamp(line.timestamp);

/** A line as it is shown: what the hub marks has words. */
export function told<L extends LogLine>(line: L): L {
  return line.marker ? { ...line, message: markerText(line.marker, line.message) } : line;
}
