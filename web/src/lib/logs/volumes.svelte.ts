/** How much is written by whom, asked of the hub now and again while somebody looks. */
import { ApiError, call } from "../api";
import type { StreamVolume, Volumes } from "../live/types";

/** Milliseconds between two questions; the hub's figures are of the last minute. */
export const EVERY_MS = 5_000;

export class VolumeModel {
  volumes = $state.raw<Volumes>();
  trouble = $state.raw<ApiError>();
  /** When the figures came, epoch milliseconds by the local clock. */
  at: number | undefined;

  /** By container; of those that are followed. */
  readonly byContainer: ReadonlyMap<string, StreamVolume> = $derived(
    new Map(this.volumes?.streams.map((stream) => [stream.containerId, stream])),
  );

  #timer: ReturnType<typeof setTimeout> | undefined;
  #watched = false;

  constructor(private readonly top: number) {}

  /** Asks until the returned function is called; not while nobody can see the page. */
  watch(): () => void {
    this.#watched = true;
    void this.#ask();
    const seen = () => {
      if (document.visibilityState === "visible") void this.#ask();
    };
    document.addEventListener("visibilitychange", seen);
    return () => {
      this.#watched = false;
      clearTimeout(this.#timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer);
    if (document.visibilityState !== "visible") return;
    try {
      const answer = await call("GET", `/logs/volume?top=${this.top}`);
      this.volumes = answer as Volumes;
      this.trouble = undefined;
      this.at = Date.now();
    } catch (error) {
      if (error instanceof ApiError) this.trouble = error;
    }
    clearTimeout(this.#timer);
    if (this.#watched) this.#timer = setTimeout(() => void this.#ask(), EVERY_MS);
  }
}
