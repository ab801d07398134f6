/** Cells that are written by hand: each remembers what it shows and touches only what differs. */
import type { Level } from "../format/level";
import { unitKind, type Quantity } from "../format/units";

/** A text. */
export class TextCell {
  #shown: string;

  constructor(private readonly node: Node) {
    this.#shown = node.textContent ?? "";
  }

  show(text: string): void {
    if (text === this.#shown) return;
    this.#shown = text;
    this.node.textContent = text;
  }
}

/** A number and its unit. */
export class FigureCell {
  #number = document.createTextNode("");
  #unit = document.createElement("span");
  #shown = "";
  #shownUnit = "";
  #level: Level = "";

  constructor(private readonly host: Element) {
    this.#unit.className = "unit";
    host.replaceChildren(this.#number, this.#unit);
  }

  show({ value, unit }: Quantity, level: Level = ""): void {
    if (value !== this.#shown) this.#number.data = this.#shown = value;
    if (unit !== this.#shownUnit) {
      this.#shownUnit = unit;
      this.#unit.textContent = unit;
      this.#unit.className = `unit ${unitKind(unit)}`;
    }
    if (level !== this.#level) {
      if (this.#level) this.host.classList.remove(this.#level);
      if (level) this.host.classList.add(level);
      this.#level = level;
    }
  }
}

/** A share of 100 as a bar. */
export class BarCell {
  #percent = -1;
  #level: Level = "";

  constructor(private readonly bar: HTMLElement) {}

  show(percent: number | undefined, level: Level): void {
    // A bar is some sixty pixels long: half a percent cannot be seen.
    const whole = Math.round(Math.min(Math.max(percent ?? 0, 0), 100));
    if (whole !== this.#percent) {
      this.#percent = whole;
      // Not by a transform: hundreds of them cost more to compose than a width costs to lay out.
      this.bar.style.width = `${whole}%`;
    }
    if (level !== this.#level) this.bar.className = this.#level = level;
  }
}
