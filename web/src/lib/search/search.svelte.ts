/** A search as it goes on: what it found so far, how far it has looked, and why it ended. */
import { ApiError } from "../api";
import { perFrame } from "../frame";
import { readStamp } from "../logs/words";
import { flow, type Parameters, type SearchProgress, type StoredLine } from "../logs/stored";
import { Histogram } from "./histogram";
import type { Range } from "./range";

/** Lines that are taken before the search rests, and characters of them, whichever comes first. */
const STRETCH = 20_000;
const STRETCH_CHARS = 30_000_000;

export interface Wish {
  /** In the query language, levels and all. */
  q: string;
  /** `deviceUuid:containerId`: of this container alone. */
  stream?: string | undefined;
  range: Range;
}

export type SearchState = "idle" | "running" | "ended" | "resting" | "failed";

/** A container that something was found of. */
export interface Source {
  streamId: string;
  deviceUuid: string;
  deviceName: string;
  name: string;
  count: number;
}

export class SearchModel {
  state = $state<SearchState>("idle");
  lines = $state.raw<readonly StoredLine[]>([]);
  progress = $state.raw<SearchProgress>();
  /** The oldest line found, epoch milliseconds: so far back it has looked. */
  backTo = $state<number>();
  sources = $state.raw<readonly Source[]>([]);
  histogram = $state.raw<{ of: Histogram }>();
  trouble = $state.raw<ApiError>();
  /** How long it took, milliseconds. */
  took = $state<number>();

  #lines: StoredLine[] = [];
  #sources = new Map<string, Source>();
  #bars: Histogram | undefined;
  #wish: Wish | undefined;
  #abort: AbortController | undefined;
  #flush = perFrame(() => this.#show());

  /** Begins a search; one that runs ends. */
  start(wish: Wish): void {
    this.stop();
    this.#wish = wish;
    this.#lines = [];
    this.#sources = new Map();
    this.#bars = new Histogram(wish.range.from, wish.range.to);
    this.progress = undefined;
    this.took = undefined;
    void this.#run();
  }

  /** Looks further back after a rest. */
  on(): void {
    if (this.state === "resting") void this.#run(this.#lines.at(-1)?.place);
  }

  stop(): void {
    this.#abort?.abort();
    this.#abort = undefined;
    if (this.state === "running") this.state = "resting";
  }

  /** What the hub is asked. */
  parameters(wish: Wish): Parameters {
    const { from, to } = wish.range;
    return {
      q: wish.q,
      stream: wish.stream,
      from: Number.isFinite(from) ? String(Math.round(from)) : undefined,
      to: String(Math.round(to)),
    };
  }

  async #run(cursor?: string): Promise<void> {
    const wish = this.#wish;
    if (!wish) return;
    const abort = (this.#abort = new AbortController());
    const began = performance.now();
    this.state = "running";
    this.trouble = undefined;
    let [lines, chars] = [0, 0];
    try {
      for await (const chunk of flow({ ...this.parameters(wish), cursor }, abort.signal)) {
        if (abort.signal.aborted) return;
        for (const text of chunk) {
          const value = JSON.parse(text) as StoredLine & {
            progress?: SearchProgress;
            error?: { code: string; message: string };
          };
          if (value.error) throw new ApiError(0, value.error.code, value.error.message);
          if (value.progress) this.progress = value.progress;
          else {
            this.#take(value);
            lines += 1;
            chars += text.length;
          }
        }
        this.#flush();
        if (lines < STRETCH && chars < STRETCH_CHARS) continue;
        abort.abort();
        return this.#end("resting", began);
      }
      if (!abort.signal.aborted) this.#end("ended", began);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.trouble =
        error instanceof ApiError ? error : new ApiError(0, "UNREACHABLE", String(error));
      this.#end("failed", began);
    }
  }

  #take(line: StoredLine): void {
    this.#lines.push(line);
    this.#bars?.add(readStamp(line.timestamp));
    const source = this.#sources.get(line.streamId);
    if (source) source.count += 1;
    else {
      const { streamId, deviceUuid, deviceName, name } = line;
      this.#sources.set(streamId, { streamId, deviceUuid, deviceName, name, count: 1 });
    }
  }

  #end(state: SearchState, began: number): void {
    this.state = state;
    this.took = performance.now() - began;
    this.#show();
  }

  #show(): void {
    const last = this.#lines.at(-1);
    this.lines = [...this.#lines];
    this.backTo = last && readStamp(last.timestamp);
    this.sources = [...this.#sources.values()]
      .map((source) => ({ ...source }))
      .sort((a, b) => b.count - a.count);
    this.histogram = this.#bars && { of: this.#bars };
  }
}
