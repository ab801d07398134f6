/** The log of a container as the hub tells it: its lines, and how it fares. */

import { Emitter } from "../live/emitter";
import type { LogHandler } from "../live/room";
import type {
  ErrorBody,
  LogBatch,
  LogFilters,
  LogGap,
  LogHistory,
  LogLine,
  LogOptions,
} from "../live/types";
import { History, olderThan, STORED_EPOCH } from "./history";
import { BASE, LogRing } from "./ring";
import type { LogSource } from "./source";
import type { Parameters } from "./stored";
import { told } from "./storedlog.svelte";
import { ANEW_TEXT, gapText, markerText, readStamp } from "./words";

/** Lines before that are asked for: as many as the hub keeps. */
const TAIL = 1_000;

export type LogState =
  /** Nothing has come yet. */
  | "waiting"
  | "open"
  /** The hub cannot read it. */
  | "unavailable";

export class LogModel implements LogHandler, LogSource {
  state = $state<LogState>("waiting");
  /** Why it cannot be read. */
  trouble = $state<string>();
  /** What is wrong with the filters, in the hub's words. */
  wrong = $state<string>();

  /** Whether the store has nothing older; undefined while that is not known. */
  begins = $state<boolean>();

  readonly live = true;
  readonly ring = new LogRing(undefined, undefined, BASE);
  readonly changed = new Emitter<void>();

  /** What was asked for last, and what was before it and was right. */
  #filters: LogFilters | undefined;
  #right: LogFilters | undefined;
  #epoch: string | undefined;
  #lastSeq = 0;
  /** Whether the next history takes the place of what is here. */
  #replace = true;
  /** Wishes that the hub has not answered yet. */
  #unanswered = 0;

  #history: History | undefined;
  #oldest: string | undefined;
  #paging: AbortController | undefined;

  /** `again` asks the hub for the log again. */
  constructor(private readonly again: () => void) {}

  /** Asks for other lines. */
  filter(filters: LogFilters | undefined): void {
    if (JSON.stringify(filters) === JSON.stringify(this.#filters)) return;
    this.#filters = filters;
    this.wrong = undefined;
    this.#replace = true;
    this.#history?.filter(filters);
    this.again();
  }

  /** Where its older lines are stored: `deviceUuid:containerId`. */
  storedAs(stream: string): void {
    if (this.#history?.of["stream"] === stream) return;
    this.#history = new History({ stream });
    this.#history.filter(this.#filters);
  }

  stored(): Parameters | undefined {
    return this.#history?.all();
  }

  newer(): void {
    // They come by themselves.
  }

  reach(): boolean {
    return false;
  }

  /** Brings a page of older lines out of the store. */
  older(): void {
    if (this.#history && !this.#paging && this.begins === undefined) void this.#page(this.#history);
  }

  leave(): void {
    this.#paging?.abort();
  }

  async #page(history: History): Promise<void> {
    const { ring } = this;
    const paging = (this.#paging = new AbortController());
    const first = ring.at(ring.first);
    const message = ring.message(ring.first);
    const at = (line: { timestamp: string }) => readStamp(line.timestamp);
    try {
      history.filter(this.#filters);
      const { lines, more } = this.#oldest
        ? await history.beyond(this.#oldest, "newest", paging.signal)
        : await history.before(first, paging.signal);
      if (paging.signal.aborted) return;
      const older = this.#oldest ? lines : olderThan(lines, { at: first, message });
      const taken = ring.prepend(older.map(told), at, STORED_EPOCH);
      if (!more || taken < older.length) this.begins = true;
      this.#oldest = lines[0]?.place ?? this.#oldest;
      this.changed.emit();
    } catch {
      // The live log goes on; the store is asked again at the next move there.
      if (paging.signal.aborted) return;
      setTimeout(() => (this.#paging = undefined), 2_000);
      return;
    }
    this.#paging = undefined;
  }

  retry(): void {
    this.again();
  }

  wanted(): LogOptions {
    this.#unanswered += 1;
    const options: LogOptions = { tail: TAIL };
    if (this.#filters) options.filters = this.#filters;
    if (!this.#replace && this.#epoch !== undefined) {
      options.since = { epoch: this.#epoch, seq: this.#lastSeq };
    }
    return options;
  }

  answered(): void {
    this.#unanswered = Math.max(0, this.#unanswered - 1);
  }

  /** The connection is gone, and with it all answers. */
  lost(): void {
    this.#unanswered = 0;
  }

  /** The hub refuses what was asked for; gives whether that was the log's fault. */
  refused(error: ErrorBody): boolean {
    if (!error.message.startsWith("options.logs")) return false;
    this.wrong = error.message.replace(/^options\.logs\.(filters\.)?/, "");
    if (this.#filters === this.#right) {
      this.unavailable(error);
      return true;
    }
    // What was right before goes on, also after the next break of the connection.
    this.#filters = this.#right;
    this.#replace = this.state === "waiting";
    this.again();
    return true;
  }

  history({ epoch, logs }: LogHistory): void {
    // It answers a wish that is no longer the last one.
    if (this.#replace && this.#unanswered > 0) return;
    this.state = "open";
    this.trouble = undefined;
    this.#right = this.#filters;
    if (this.#replace || this.ring.length === 0) {
      this.ring.clear();
      this.#paging?.abort();
      this.#paging = this.#oldest = this.begins = undefined;
      this.#begin(epoch);
      this.#push(logs);
    } else if (epoch === this.#epoch) {
      this.#push(logs.filter(({ seq }) => seq > this.#lastSeq));
    } else {
      this.#join(epoch, logs);
    }
    this.#replace = false;
    this.changed.emit();
  }

  batch({ logs }: LogBatch): void {
    if (this.#epoch === undefined) return;
    if (this.state === "unavailable") {
      this.state = "open";
      this.trouble = undefined;
    }
    this.#push(logs.filter(({ seq }) => seq > this.#lastSeq));
    this.changed.emit();
  }

  gap(gap: LogGap): void {
    if (this.#epoch === undefined || gap.toSeq <= this.#lastSeq) return;
    const { fromSeq: from, toSeq: to, dropped } = gap;
    const at = this.ring.length > 0 ? this.ring.at(this.ring.end - 1) : NaN;
    this.ring.pushSpecial({ kind: "gap", from, to, dropped }, gapText(gap), from, at);
    this.#lastSeq = to;
    this.changed.emit();
  }

  unavailable(error: ErrorBody): void {
    this.state = "unavailable";
    this.trouble = error.message;
  }

  #begin(epoch: string): void {
    this.#epoch = epoch;
    this.#lastSeq = 0;
    this.ring.begin(epoch);
  }

  /**
   * The hub counts anew, so its lines before are in part those that are here. The newest of ours
   * among them tells where they go on; if it is not there, lines may be missing.
   */
  #join(epoch: string, logs: LogLine[]): void {
    const { ring } = this;
    let last = ring.end - 1;
    while (ring.has(last) && ring.special(last)) last -= 1;
    const at = ring.has(last) ? ring.at(last) : NaN;
    const message = ring.message(last);
    const same = logs.findLastIndex(
      (line) => line.message === message && readStamp(line.timestamp) === at,
    );
    this.#begin(epoch);
    if (same < 0) ring.pushSpecial({ kind: "anew" }, ANEW_TEXT, 0, at);
    else this.#lastSeq = logs[same]?.seq ?? 0;
    this.#push(logs.slice(same + 1));
  }

  #push(logs: readonly LogLine[]): void {
    for (const line of logs) {
      const { marker } = line;
      const told = marker ? { ...line, message: markerText(marker, line.message) } : line;
      this.ring.push(told, readStamp(line.timestamp));
      this.#lastSeq = line.seq;
    }
  }
}
