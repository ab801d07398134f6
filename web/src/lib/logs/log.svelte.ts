/** The log of a container as the hub tells it: its lines, and how it fares. */

import type { LogHandler } from "../live/room";
import type { LogBatch, LogGap, LogHistory, LogLine, LogOptions } from "../live/types";
import { LiveLog, TAIL } from "./livelog.svelte";
import { told } from "./storedlog.svelte";
import { ANEW_TEXT, gapText, readStamp } from "./words";

export class LogModel extends LiveLog implements LogHandler {
  #epoch: string | undefined;
  #lastSeq = 0;

  wanted(): LogOptions {
    this.wished();
    const options: LogOptions = { tail: TAIL };
    if (this.filters) options.filters = this.filters;
    if (!this.replace && this.#epoch !== undefined) {
      options.since = { epoch: this.#epoch, seq: this.#lastSeq };
    }
    return options;
  }

  history({ epoch, logs }: LogHistory): void {
    if (!this.answers()) return;
    if (this.replace || this.ring.length === 0) {
      this.clear();
      this.#begin(epoch);
      this.#push(logs);
    } else if (epoch === this.#epoch) {
      this.#push(logs.filter(({ seq }) => seq > this.#lastSeq));
    } else {
      this.#join(epoch, logs);
    }
    this.replace = false;
    this.changed.emit();
  }

  batch({ logs }: LogBatch): void {
    if (this.#epoch === undefined) return;
    if (this.state === "unavailable") this.opened();
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
      this.ring.push(told(line), readStamp(line.timestamp));
      this.#lastSeq = line.seq;
    }
  }
}
