/** The line above the devices of one tag. */
import { plural } from "../format/units";
import type { Line } from "./arrange";

type Group = Extract<Line, { kind: "group" }>;

export class FleetGroup {
  readonly kind = "group";
  readonly element = document.createElement("div");
  key = "";

  #tag = cell("");
  #count = cell("faint");
  #troubled = cell("warn");

  constructor() {
    this.element.className = "fleet-group";
    this.element.setAttribute("role", "row");
    this.element.append(this.#tag, this.#count, this.#troubled);
  }

  /** Gives the line to a group: `index` among all lines from 0. */
  place(group: Group, index: number): void {
    this.key = group.key;
    this.element.setAttribute("aria-rowindex", String(index + 2));
    this.#tag.textContent = group.tag || "no tag";
    this.#count.textContent = plural(group.count, "device");
    this.#troubled.textContent = group.troubled > 0 ? `${group.troubled} in trouble` : "";
  }
}

function cell(className: string): HTMLElement {
  const span = document.createElement("span");
  span.setAttribute("role", "gridcell");
  span.className = className;
  return span;
}
