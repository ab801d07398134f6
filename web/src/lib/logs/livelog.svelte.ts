/** What a live log of one container and one of several have in common: wishes, filters, older lines. */

import { Emitter } from "../live/emitter";
import type { ErrorBody, LogFilters, LogLine } from "../live/types";
import { History, olderThan, STORED_EPOCH } from "./history";
import { BASE, LogRing } from "./ring";
import type { LogSource } from "./source";
import type { Parameters, StoredLine } from "./stored";
import { told } from "./storedlog.svelte";
import { readStamp } from "./words";

/** Lines before that are asked for: as many as the hub keeps. */
export const TAIL = 1_000;

export type LogState =
  /** Nothing has come yet. */
  | "waiting"
  | "open"
  /** The hub cannot read it. */
  | "unavailable";

export abstract class LiveLog implements LogSource {
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

  /** What was asked for last. */
  protected filters: LogFilters | undefined;
  /** Whether the next history takes the place of what is here. */
  protected replace = true;

  /** What was asked for before and was right. */
  #right: LogFilters | undefined;
  /** Wishes that the hub has not answered yet. */
  #unanswered = 0;

  #history: History | undefined;
  #historyText = "";
  #oldest: string | undefined;
  #paging: AbortController | undefined;

  /** `again` asks the hub for the log again. */
  constructor(private readonly again: () => void) {}

  /** Asks for other lines. */
  filter(filters: LogFilters | undefined): void {
    if (JSON.stringify(filters) === JSON.stringify(this.filters)) return;
    this.filters = filters;
    this.wrong = undefined;
    this.replace = true;
    this.#history?.filter(filters);
    this.again();
  }

  /** What to search the store by for its older lines. */
  storedAs(of: Parameters): void {
    const text = JSON.stringify(of);
    if (this.#historyText === text) return;
    this.#historyText = text;
    this.#history = new History(of);
    this.#history.filter(this.filters);
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

  retry(): void {
    this.again();
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
    if (this.filters === this.#right) {
      this.unavailable(error);
      return true;
    }
    // What was right before goes on, also after the next break of the connection.
    this.filters = this.#right;
    this.replace = this.state === "waiting";
    this.again();
    return true;
  }

  unavailable(error: ErrorBody): void {
    this.state = "unavailable";
    this.trouble = error.message;
  }

  /** Whose line of the store it is. */
  protected whose(_line: StoredLine): number {
    return 0;
  }

  /** A wish goes out. */
  protected wished(): void {
    this.#unanswered += 1;
  }

  /** A history came. False: it answers a wish that is no longer the last one. */
  protected answers(): boolean {
    if (this.replace && this.#unanswered > 0) return false;
    this.opened();
    this.#right = this.filters;
    return true;
  }

  /** Lines come. */
  protected opened(): void {
    this.state = "open";
    this.trouble = undefined;
  }

  /** Lets all lines go. */
  protected clear(): void {
    this.ring.clear();
    this.#paging?.abort();
    this.#paging = this.#oldest = this.begins = undefined;
  }

  async #page(history: History): Promise<void> {
    const { ring } = this;
    const paging = (this.#paging = new AbortController());
    const first = ring.at(ring.first);
    const message = ring.message(ring.first);
    const at = (line: LogLine) => readStamp(line.timestamp);
    try {
      history.filter(this.filters);
      const { lines, more } = this.#oldest
        ? await history.beyond(this.#oldest, "newest", paging.signal)
        : await history.before(first, paging.signal);
      if (paging.signal.aborted) return;
      const older = this.#oldest ? lines : olderThan(lines, { at: first, message });
      const taken = ring.prepend(older.map(told), at, STORED_EPOCH, (line) => this.whose(line));
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
}
