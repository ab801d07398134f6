/**
 * A line's row: made once, then given to whichever line is in view, and written by hand. Whatever
 * a line says gets here as the text of text nodes, and never as anything else.
 */
import type { Pattern } from "../regex/regex";
import { parts, isColoured } from "./ansi";
import { LEVEL_CLASS, LEVEL_SHORT } from "./levels";
import type { LogRing } from "./ring";
import { visible } from "./safe";
import { fullTime, lineTime, sizeText } from "./words";

/** Characters of a line that is not unfolded; the rest waits for a click. */
export const FOLDED_CHARS = 2_000;

/** How lines are shown now. */
export interface Style {
  columns: readonly string[];
  wrap: boolean;
  pattern: Pattern | undefined;
  /** In a log of several: whose line it is, by its number. */
  whose?: ((of: number) => Whose | undefined) | undefined;
  /** In a log of several: whose lines are not shown. */
  hidden?: ReadonlySet<number> | undefined;
}

/** Whose line it is: a name, a colour besides, and where more is told. */
export interface Whose {
  name: string;
  title: string;
  colour: number;
  href: string;
}

export class LogRow {
  readonly element = div("log-row");
  position = -1;

  #time = document.createElement("time");
  #fold = document.createElement("button");
  #body = div("log-text");
  #message = document.createElement("span");
  #more = document.createElement("button");
  #of: HTMLAnchorElement | undefined;
  #cells: HTMLElement[] = [];
  #details: HTMLElement | undefined;

  /** `prefix` begins the row's id, so that two logs on a page have none in common. */
  constructor(private readonly prefix: string) {
    this.element.setAttribute("role", "row");
    this.#time.setAttribute("role", "gridcell");
    this.#body.setAttribute("role", "gridcell");
    this.#fold.type = this.#more.type = "button";
    this.#fold.tabIndex = this.#more.tabIndex = -1;
    this.#fold.className = "log-fold";
    this.#more.className = "log-more";
    this.#fold.dataset["act"] = this.#more.dataset["act"] = "fold";
    this.#time.dataset["act"] = "link";
    this.#message.className = "log-message";
    this.#body.append(this.#message, this.#more);
    this.element.append(this.#time, this.#fold, this.#body);
  }

  /** Shows a line. */
  show(ring: LogRing, position: number, style: Style, open: boolean): void {
    this.position = position;
    const { element } = this;
    element.id = `${this.prefix}${position}`;
    element.setAttribute("aria-rowindex", String(position - ring.first + 1));
    const at = ring.at(position);
    this.#time.textContent = lineTime(at);
    this.#time.title = fullTime(at);
    const special = ring.special(position);
    const level = ring.level(position);
    const kind = special ? `log-mark ${special.kind}` : LEVEL_CLASS[level];
    element.className = `log-row ${kind}${open ? " open" : ""}`;
    if (level > 0) element.setAttribute("aria-description", LEVEL_SHORT[level]);
    else element.removeAttribute("aria-description");

    const message = ring.message(position);
    const head = ring.head(position);
    const lines = message.length > head ? count(message, head) : 0;
    const fields = special ? undefined : ring.fields(position);
    const long = head > FOLDED_CHARS;
    const more = fields !== undefined || lines > 0 || long || hasMore(ring, position);
    this.#fold.className = more || open ? "log-fold" : "log-fold plain";
    this.#fold.textContent = open ? "▾" : "▸";
    this.#fold.setAttribute("aria-label", open ? "Fold" : "Unfold");
    if (special) element.removeAttribute("aria-expanded");
    else element.setAttribute("aria-expanded", String(open));
    this.#whose(style.whose?.(ring.of(position)));
    this.#columns(style.columns, fields);

    const shown = open ? message : message.slice(0, Math.min(head, FOLDED_CHARS));
    this.#write(shown, ring.raw(position), message, style.pattern);
    const rest = open
      ? []
      : [lines > 0 ? `+${lines} lines` : "", long ? `${sizeText(message.length)} in all` : ""];
    this.#more.textContent = rest.filter(Boolean).join(", ");
    this.#more.hidden = this.#more.textContent === "";
    this.#showDetails(ring, position, open && !special);
  }

  /** Marks what somebody has selected, and the line that the keyboard is at. */
  mark(selected: boolean, current: boolean, near: boolean, linked: boolean): void {
    this.element.setAttribute("aria-selected", String(selected));
    this.element.classList.toggle("current", current);
    this.element.classList.toggle("near", near);
    this.element.classList.toggle("linked", linked);
  }

  #whose(whose: Whose | undefined): void {
    if (!whose) {
      this.#of?.remove();
      this.#of = undefined;
      return;
    }
    if (!this.#of) {
      this.#of = document.createElement("a");
      this.#of.setAttribute("role", "gridcell");
      this.#of.tabIndex = -1;
      this.#fold.before(this.#of);
    }
    this.#of.className = `log-of m-${whose.colour}`;
    this.#of.textContent = visible(whose.name);
    this.#of.title = visible(whose.title);
    this.#of.href = whose.href;
  }

  #columns(names: readonly string[], fields: Record<string, unknown> | undefined): void {
    while (this.#cells.length > names.length) this.#cells.pop()?.remove();
    while (this.#cells.length < names.length) {
      const cell = div("log-cell");
      cell.setAttribute("role", "gridcell");
      this.#cells.push(cell);
      this.#body.before(cell);
    }
    for (const [i, cell] of this.#cells.entries()) {
      const name = names[i] ?? "";
      const value = fields && Object.hasOwn(fields, name) ? visible(String(fields[name])) : "";
      cell.textContent = value;
      cell.title = value ? `${visible(name)}=${value}` : "";
    }
  }

  /** The message: in the line's own colours where it has some, with what was found marked. */
  #write(
    shown: string,
    raw: string | undefined,
    message: string,
    pattern: Pattern | undefined,
  ): void {
    const found = pattern?.places(shown) ?? [];
    let coloured = raw !== undefined && isColoured(raw) ? parts(raw) : undefined;
    // A message that was taken out of a structure, or has lines that were joined, is not the line.
    if (coloured && coloured.map(({ text }) => text).join("") !== message) coloured = undefined;
    if (!coloured && found.length === 0) {
      this.#message.textContent = visible(shown);
      return;
    }
    const nodes: Node[] = [];
    let [at, next] = [0, 0];
    for (const { text, look } of coloured ?? [{ text: shown, look: "" }]) {
      const end = Math.min(at + text.length, shown.length);
      while (at < end) {
        const [from, to] = found[next] ?? [Infinity, Infinity];
        const inside = at >= from;
        const stop = Math.min(end, inside ? to : from);
        nodes.push(piece(visible(shown.slice(at, stop)), look, inside));
        at = stop;
        if (at >= to) next += 1;
      }
    }
    this.#message.replaceChildren(...nodes);
  }

  #showDetails(ring: LogRing, position: number, open: boolean): void {
    this.#details?.remove();
    this.#details = undefined;
    if (!open) return;
    const details = div("log-details");
    const list = document.createElement("dl");
    const fields = ring.fields(position);
    for (const name in fields) list.append(...field(name, String(fields[name])));
    const raw = ring.raw(position);
    const about = `${fullTime(ring.at(position))} · ${ring.stream(position)} · number ${ring.seq(position)}`;
    details.append(list, text("p", "faint", about));
    if (raw !== undefined) {
      details.append(text("p", "faint", "As it came"), text("pre", "log-raw", visible(raw)));
    }
    const cut = ring.cut(position);
    if (cut) details.append(text("p", "warn", `${sizeText(cut)} more were cut off by the hub`));
    this.#details = details;
    this.#body.append(details);
  }
}

/** Whether unfolding shows something that is not to be seen already. */
function hasMore(ring: LogRing, position: number): boolean {
  return ring.raw(position) !== undefined || ring.cut(position) !== undefined;
}

/** How many lines follow the first. */
function count(message: string, head: number): number {
  let lines = 0;
  for (let at = head; at >= 0; at = message.indexOf("\n", at + 1)) lines += 1;
  return lines;
}

function piece(shown: string, look: string, found: boolean): Node {
  if (!look && !found) return document.createTextNode(shown);
  const element = document.createElement(found ? "mark" : "span");
  if (look) element.className = look;
  element.textContent = shown;
  return element;
}

function field(name: string, value: string): Node[] {
  const term = text("dt", "", visible(name));
  const given = text("dd", "", visible(value));
  const act = (what: string, label: string) => {
    const button = text("button", "plain", label) as HTMLButtonElement;
    button.type = "button";
    button.dataset["act"] = what;
    button.dataset["name"] = name;
    button.dataset["value"] = value;
    return button;
  };
  given.append(" ", act("column", "column"), " ", act("field", "only these"));
  return [term, given];
}

function text(tag: string, className: string, content: string): HTMLElement {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = content;
  return element;
}

function div(className: string): HTMLElement {
  return text("div", className, "");
}
