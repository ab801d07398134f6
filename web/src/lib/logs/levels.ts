/** How grave a line is, in the page's order and words. */
import type { LogLevel } from "../live/types";

/** The finest first. A line's number is its place here from 1; 0 is a line that does not say. */
export const LEVELS: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error", "fatal"];

export type LevelNumber = 0 | 1 | 2 | 3 | 4 | 5 | 6;

export const ERROR = 5;

/** The class of a line's edge, by its number; the plain ones have none. */
export const LEVEL_CLASS = ["", "trace", "debug", "info", "warn", "error", "fatal"] as const;

/** In four letters, as terminals show it. */
export const LEVEL_SHORT = ["", "TRCE", "DEBG", "INFO", "WARN", "ERR ", "FATL"] as const;
