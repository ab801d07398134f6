/**
 * The rows in the document: only those in view and a few around them. A row that leaves the view is
 * given to a line that enters it; a row that stays is not touched. The focused row is never moved,
 * for moving would take the focus from it.
 */
import type { Line } from "./arrange";
import type { FleetColumns } from "./columns";
import { FleetGroup } from "./group";
import { FleetRow } from "./row";
import type { Window } from "./window";

type View = FleetRow | FleetGroup;

export class Rows {
  /** What is in the document, in its order. */
  #shown: View[] = [];
  #spare = { row: [] as View[], group: [] as View[] };

  /** `lost` is called before the focused row leaves the view. */
  constructor(
    private readonly host: HTMLElement,
    private readonly lost: () => void,
  ) {}

  /** Puts the lines of the window into the document. `selected` and `tabbable` are keys. */
  layout(
    lines: readonly Line[],
    { first, last }: Window,
    selected: string | undefined,
    tabbable: string | undefined,
  ): void {
    const needed = lines.slice(first, last);
    const staying = this.#release(new Set(needed.map(({ key }) => key)));
    this.#shown = needed.map((line, i) => {
      const view = staying.get(line.key) ?? this.#spare[line.kind].pop() ?? make(line.kind);
      if (line.kind === "row" && view.kind === "row") {
        const { key, slot } = line;
        view.place(key, slot, first + i, key === selected, key === tabbable);
      } else if (line.kind === "group" && view.kind === "group") {
        view.place(line, first + i);
      }
      return view;
    });
    for (const { element } of [...this.#spare.row, ...this.#spare.group]) element.remove();
    this.#order();
  }

  show(columns: FleetColumns, now: number): void {
    for (const view of this.#shown) if (view.kind === "row") view.show(columns, now);
  }

  showAges(columns: FleetColumns, now: number): void {
    for (const view of this.#shown) if (view.kind === "row") view.showAge(columns, now);
  }

  /** Draws the lines again: the colours have changed. */
  draw(columns: FleetColumns): void {
    for (const view of this.#shown) if (view.kind === "row") view.draw(columns);
  }

  focus(key: string): void {
    const view = this.#shown.find((view) => view.key === key);
    view?.element.focus({ preventScroll: true });
  }

  /** Gives back the views whose line is not wanted; the others by their key. */
  #release(wanted: ReadonlySet<string>): Map<string, View> {
    const staying = new Map<string, View>();
    for (const view of this.#shown) {
      if (wanted.has(view.key)) {
        staying.set(view.key, view);
      } else {
        // Else the focus would be on another device without anybody having moved it.
        if (view.element.contains(document.activeElement)) this.lost();
        this.#spare[view.kind].push(view);
      }
    }
    return staying;
  }

  #order(): void {
    const elements = this.#shown.map(({ element }) => element);
    const focused = elements.findIndex((element) => element.contains(document.activeElement));
    const pivot = Math.max(focused, 0);
    const [fixed] = elements.slice(pivot, pivot + 1);
    if (!fixed) return;
    if (fixed.parentNode !== this.host) this.host.prepend(fixed);
    for (let i = pivot - 1; i >= 0; i -= 1) {
      const [element, next] = [elements[i], elements[i + 1]];
      if (element && next && element.nextSibling !== next) next.before(element);
    }
    for (let i = pivot + 1; i < elements.length; i += 1) {
      const [element, previous] = [elements[i], elements[i - 1]];
      if (element && previous && element.previousSibling !== previous) previous.after(element);
    }
  }
}

function make(kind: Line["kind"]): View {
  return kind === "row" ? new FleetRow() : new FleetGroup();
}
