/** The lines of several containers in one log, as the hub puts them together. */

import type { LiveClient } from "../live/client";
import type { Handlers, LogHandler } from "../live/room";
import type {
  ErrorBody,
  LogBatch,
  LogGap,
  LogHistory,
  LogLine,
  LogMember,
  LogOptions,
  LogsData,
} from "../live/types";
import { LiveLog, TAIL } from "./livelog.svelte";
import { type Selector, selectorText, storedOf } from "./selector";
import type { StoredLine } from "./stored";
import { BREAK_TEXT, gapText, markerText, readStamp } from "./words";

/** A container whose lines are here. It keeps its number, and so its colour, as long as the log is open. */
export interface Member extends LogMember {
  index: number;
  /** Whether the hub follows it now. */
  followed: boolean;
}

/** How far the lines of a member have come. */
interface Reached {
  seq: number;
  at: number;
}

export class MergedLog extends LiveLog implements LogHandler {
  /** In the order in which they were first seen. */
  members = $state.raw<readonly Member[]>([]);
  /** How many more there are that are not followed. */
  truncated = $state(0);
  refusal = $state.raw<ErrorBody>();

  #epoch: string | undefined;
  #known = new Map<string, Member>();
  #reached: Reached[] = [];

  constructor(
    private readonly client: LiveClient,
    readonly selector: Selector,
  ) {
    super(() => client.again({ type: "logs", id: selectorText(selector) }));
  }

  watch(): () => void {
    const handler: Handlers["logs"] = {
      snapshot: (data) => {
        this.refusal = undefined;
        this.#follow(data);
      },
      members: (data) => this.#follow(data),
      refused: (error) => {
        if (!super.refused(error)) this.refusal = error;
      },
      log: this,
    };
    const stop = this.client.watch({ type: "logs", id: selectorText(this.selector) }, handler);
    return () => {
      stop();
      this.leave();
    };
  }

  wanted(): LogOptions {
    this.wished();
    return { tail: TAIL, ...(this.filters && { filters: this.filters }) };
  }

  history({ epoch, logs }: LogHistory): void {
    if (!this.answers()) return;
    const anew = this.replace || this.ring.length === 0;
    const same = epoch !== undefined && epoch === this.#epoch;
    if (anew) {
      this.clear();
      this.#reached = [];
    }
    if (anew || !same) {
      this.#epoch = epoch;
      this.ring.begin(epoch ?? "");
    }
    if (anew) this.#push(logs);
    else {
      const fresh = logs.filter((line) => !this.#has(line, same));
      // All of what is told is new: there may have been more.
      const apart = logs.length > 0 && fresh.length === logs.length;
      if (!same) for (const reached of this.#reached) reached.seq = 0;
      if (apart) this.ring.pushSpecial({ kind: "anew" }, BREAK_TEXT, 0, this.#lastAt());
      this.#push(fresh);
    }
    this.replace = false;
    this.changed.emit();
  }

  batch({ logs }: LogBatch): void {
    if (this.state === "waiting") return;
    if (this.state === "unavailable") this.opened();
    this.#push(logs.filter((line) => !this.#has(line, true)));
    this.changed.emit();
  }

  gap(gap: LogGap): void {
    const member = this.#member(gap.streamId);
    const reached = this.#at(member.index);
    if (this.state === "waiting" || gap.toSeq <= reached.seq) return;
    const { fromSeq: from, toSeq: to, dropped } = gap;
    const text = `${member.name}: ${gapText(gap)}`;
    const special = { kind: "gap", from, to, dropped } as const;
    this.ring.pushSpecial(special, text, from, this.#lastAt(), member.index);
    reached.seq = to;
    this.changed.emit();
  }

  /** One of several cannot be read: the others go on. */
  override unavailable(error: ErrorBody): void {
    if (this.state === "waiting") super.unavailable(error);
    else this.trouble = error.message;
  }

  protected override whose(line: StoredLine): number {
    return this.#member(line.streamId, line).index;
  }

  #lastAt(): number {
    return this.ring.length > 0 ? this.ring.at(this.ring.end - 1) : NaN;
  }

  /** Whether a line is here, by its number, or where numbers are of another count by its time. */
  #has({ streamId = "", seq, timestamp }: LogLine, numbered: boolean): boolean {
    const member = this.#known.get(streamId);
    const reached = member && this.#reached[member.index];
    if (!reached) return false;
    return numbered ? seq <= reached.seq : readStamp(timestamp) <= reached.at;
  }

  #push(logs: readonly LogLine[]): void {
    for (const line of logs) {
      const { marker, streamId = "" } = line;
      const { index } = this.#member(streamId);
      const reached = this.#at(index);
      const at = readStamp(line.timestamp);
      const told = marker ? { ...line, message: markerText(marker, line.message) } : line;
      this.ring.push(told, at, index);
      reached.seq = Math.max(reached.seq, line.seq);
      if (!(at <= reached.at)) reached.at = at;
    }
  }

  #at(index: number): Reached {
    return (this.#reached[index] ??= { seq: 0, at: -Infinity });
  }

  #follow({ members, truncated }: LogsData): void {
    this.truncated = truncated;
    const now = new Set(members.map(({ streamId }) => streamId));
    for (const [id, member] of this.#known) {
      if (!now.has(id) && member.followed) this.#known.set(id, { ...member, followed: false });
    }
    for (const member of members) {
      const index = this.#known.get(member.streamId)?.index ?? this.#known.size;
      this.#known.set(member.streamId, { ...member, index, followed: true });
    }
    this.members = [...this.#known.values()];
    const of = storedOf(this.selector, this.members);
    if (of) this.storedAs(of);
  }

  /** Of a line: its container, also if it is not followed any more, or was not told of yet. */
  #member(streamId: string, line?: StoredLine): Member {
    const known = this.#known.get(streamId);
    if (known) return known;
    const [deviceUuid = "", containerId = ""] = streamId.split(":");
    const { name, deviceName = "", project, service } = line ?? {};
    const member: Member = {
      streamId,
      deviceUuid,
      containerId,
      name: name ?? containerId.slice(0, 12),
      deviceName,
      state: "unknown",
      index: this.#known.size,
      followed: false,
      ...(project && { project }),
      ...(service && { service }),
    };
    this.#known.set(streamId, member);
    this.members = [...this.#known.values()];
    return member;
  }
}
