/** JSON values that come a line each, in chunks that end anywhere. */

/** The longest line that is put together, characters: the hub cuts a log line at 256 KB. */
export const MOST_CHARS = 4_000_000;

export class Lines {
  #rest = "";

  /** The lines that a chunk ends; empty ones are signs of life and left out. */
  push(chunk: string): string[] {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > MOST_CHARS) throw new RangeError("the hub sent a line without an end");
    return lines.filter((line) => line !== "");
  }

  /** What came after the last line's end: not empty where an answer broke off. */
  get rest(): string {
    return this.#rest;
  }
}
