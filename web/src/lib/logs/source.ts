/** What a log's pane needs of a log, wherever its lines come from. */
import type { Emitter } from "../live/emitter";
import type { LogFilters } from "../live/types";
import type { LogRing } from "./ring";
import type { Parameters } from "./stored";

export interface LogSource {
  readonly state: "waiting" | "open" | "unavailable";
  /** Why it cannot be read. */
  readonly trouble: string | undefined;
  /** What is wrong with the filters, in the hub's words. */
  readonly wrong: string | undefined;
  readonly ring: LogRing;
  readonly changed: Emitter<void>;
  /** Whether new lines come by themselves. */
  readonly live: boolean;
  /** Whether the store has nothing older; undefined while that is not known. */
  readonly begins: boolean | undefined;
  filter(filters: LogFilters | undefined): void;
  retry(): void;
  /** Lines before the oldest, and after the newest; they come when they come. */
  older(): void;
  newer(): void;
  /** What to search the store by for all of it, with its filters; undefined where nobody knows. */
  stored(): Parameters | undefined;
  /** Brings an instant in, if the source can; gives whether it does. */
  reach(at: number): boolean;
}
