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
import { told } from "./storedlog.svelte";
import { BREAK_TEXT, gapText, readStamp, slowText } from "./words";

/** A container whose lines are here. It keeps its number, and so its colour, as long as the log is open. */
export interface Member extends LogMember {
  index: number;
  /** Whether the hub follows it now. */
  followed: boolean;
}

/** Lines here that are compared with those that come after a break, at most. */
const COMPARED = 5_000;

export class MergedLog extends LiveLog implements LogHandler {
  /** In the order in which they were first seen. */
  members = $state.raw<readonly Member[]>([]);
  /** How many more there are that are not followed. */
  truncated = $state(0);
  refusal = $state.raw<ErrorBody>();

  #known = new Map<string, Member>();

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

  history({ logs }: LogHistory): void {
    if (!this.answers()) return;
    if (this.replace || this.ring.length === 0) {
      this.clear();
      this.#push(logs);
    } else {
      const fresh = this.#fresh(logs);
      // All of what is told is new: there may have been more.
      const apart = logs.length > 0 && fresh.length === logs.length;
      if (apart) this.ring.pushSpecial({ kind: "anew" }, BREAK_TEXT, 0, this.#lastAt());
      this.#push(fresh);
    }
    this.replace = false;
    this.changed.emit();
  }

  /** Each line comes once, so that none needs to be compared. */
  batch({ logs }: LogBatch): void {
    if (this.state === "waiting") return;
    if (this.state === "unavailable") this.opened();
    this.#push(logs);
    this.changed.emit();
  }

  gap(gap: LogGap): void {
    if (this.state === "waiting") return;
    const { fromSeq: from, toSeq: to, dropped } = gap;
    // Of lines of any of them, where we are too slow for all.
    const all = gap.streamId === selectorText(this.selector);
    const member = all ? undefined : this.#member(gap.streamId);
    const text = member ? `${member.name}: ${gapText(gap)}` : slowText(dropped);
    const special = { kind: "gap", from, to, dropped } as const;
    this.ring.pushSpecial(special, text, from, this.#lastAt(), member?.index);
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

  /**
   * Of the newest lines those that are not here. The hub may count them anew, so they are told by
   * whose they are, their time and their text; as often as one is here it is left out.
   */
  #fresh(logs: readonly LogLine[]): LogLine[] {
    const { ring } = this;
    const here = new Map<string, number>();
    const key = (of: number, at: number, message: string) => `${of} ${at} ${message}`;
    for (let at = Math.max(ring.first, ring.end - COMPARED); at < ring.end; at += 1) {
      const text = key(ring.of(at), ring.at(at), ring.message(at));
      here.set(text, (here.get(text) ?? 0) + 1);
    }
    return logs.filter((line) => {
      const { index } = this.#member(line.streamId ?? "");
      const text = key(index, readStamp(line.timestamp), told(line).message);
      const left = here.get(text) ?? 0;
      here.set(text, left - 1);
      return left <= 0;
    });
  }

  #push(logs: readonly LogLine[]): void {
    for (const line of logs) {
      const { index } = this.#member(line.streamId ?? "");
      this.ring.push(told(line), readStamp(line.timestamp), index);
    }
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
