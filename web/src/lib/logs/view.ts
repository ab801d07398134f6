/**
 * A log on the screen: which lines are in the document, where the list stands, what is unfolded,
 * selected and found. As many rows as can be seen, and some around them; a line that stays in view
 * is not touched.
 */
import { perFrame } from "../frame";
import { Find } from "./find";
import { Heights } from "./heights";
import type { LogRing } from "./ring";
import { FOLDED_CHARS, LogRow, type Style } from "./row";
import { ScrollSpace } from "./scroll";
import { Strip } from "./strip";
import { lineCopy } from "./words";

/** Of a line that is neither wrapped nor unfolded, pixels; the same as in log.css. */
export const LINE = 18;
/** Drawn above and below what can be seen, pixels. */
const MARGIN = 180;
/** The longest that finding may hold up a frame, milliseconds. */
const SLICE_MS = 8;
/** After so long without a move the scroller goes to its place by proportion. */
const REST_MS = 150;
/** So close to an end of what is held more is asked for, lines. */
const EDGE = 200;
/** Lines as near to an instant that a chart points at, milliseconds. */
const NEAR_MS = 500;

/** Logs that were opened: their rows' ids have none in common. */
let opened = 0;

/** What the page says of the log besides its lines. */
export interface Standing {
  lines: number;
  /** Whether the newest line is kept in view. */
  following: boolean;
  /** Lines that came since it is not. */
  fresh: number;
  /** Of what is looked for; undefined where nothing is. */
  matches:
    | {
        count: number;
        rank: number | undefined;
        done: boolean;
        /** Lines in which to look would have taken too long. */
        hard: number;
      }
    | undefined;
  /** Lines selected. */
  selected: number;
}

export interface Parts {
  scroller: HTMLElement;
  space: HTMLElement;
  host: HTMLElement;
  strip: HTMLCanvasElement;
}

export class LogView {
  following = true;
  style: Style = { columns: [], wrap: false, pattern: undefined };

  readonly #prefix = `log-${(opened += 1)}-`;
  readonly #hidden = (position: number) => this.style.hidden?.has(this.ring.of(position)) === true;

  #heights = new Heights();
  #scroll = new ScrollSpace();
  #strip: Strip;
  #find: Find | undefined;
  #shown: LogRow[] = [];
  #spare: LogRow[] = [];
  #open = new Set<number>();
  /** The line that the keyboard is at, and where a selection began. */
  #current: number | undefined;
  #anchor: number | undefined;
  #linked: number | undefined;
  /** Lines up to here had been seen when following was paused. */
  #seen = 0;
  #near: number | undefined;
  /** Characters that go on a line of a wrapped message. */
  #perLine = 100;
  #spaceHeight = -1;
  #rest: ReturnType<typeof setTimeout> | undefined;
  #seeking = false;
  #flush = perFrame(() => this.#changed());
  #stops: (() => void)[] = [];
  #stopped = false;

  constructor(
    private readonly parts: Parts,
    private readonly ring: LogRing,
    private readonly tell: (standing: Standing) => void,
    /** What is in view comes near the oldest line that is held, or near the newest. */
    private readonly edge: (which: "older" | "newer") => void = () => undefined,
  ) {
    const { scroller, strip } = parts;
    this.#strip = new Strip(
      strip,
      ring,
      () => this.#find,
      () => this.#near,
      this.#hidden,
    );
    const scrolled = () => this.#scrolled();
    scroller.addEventListener("scroll", scrolled, { passive: true });
    const resized = new ResizeObserver(() => this.restyle(this.style));
    resized.observe(scroller);
    this.#stops = [
      () => scroller.removeEventListener("scroll", scrolled),
      () => resized.disconnect(),
      () => this.#strip.stop(),
      () => clearTimeout(this.#rest),
      () => parts.host.replaceChildren(),
    ];
    this.#heights.reset(ring.first);
    this.restyle(this.style);
  }

  stop(): void {
    this.#stopped = true;
    for (const stop of this.#stops) stop();
  }

  get current(): number | undefined {
    return this.#current !== undefined && this.ring.has(this.#current) ? this.#current : undefined;
  }

  /** Lines came or went; they are shown with the next frame. */
  changed(): void {
    this.#flush();
  }

  /** Shows lines in another way; what is at the top stays there. */
  restyle(style: Style): void {
    const { scroller } = this.parts;
    const before = this.style;
    this.style = style;
    const hiding = style.hidden !== before.hidden;
    if (style.pattern !== before.pattern || hiding) {
      this.#find = style.pattern && new Find(this.ring, style.pattern, this.#hidden);
      this.#seek();
    }
    this.#scroll.view = scroller.clientHeight;
    this.#catchUp();
    this.#renew();
    const width = this.#shown[0]?.element.querySelector(".log-text")?.clientWidth ?? 0;
    const perLine = Math.max(10, Math.floor(width / charWidth(scroller)));
    if (hiding || style.wrap !== before.wrap || (style.wrap && perLine !== this.#perLine)) {
      this.#perLine = perLine;
      this.#estimateAll();
      this.#renew();
    }
  }

  /** The colours have changed. */
  recolour(): void {
    this.#strip.draw();
  }

  /** Keeps the newest line in view from now on. */
  follow(): void {
    this.following = true;
    this.#current = this.#anchor = undefined;
    this.#changed();
  }

  pause(): void {
    if (!this.following) return;
    this.following = false;
    this.#seen = this.ring.end;
  }

  /** Brings a line into view, in the middle if it is not there already, and goes to it. */
  reveal(position: number, { extend = false, middle = true } = {}): void {
    const { ring } = this;
    if (ring.length === 0) return;
    this.#catchUp();
    const at = this.#visible(Math.min(Math.max(position, ring.first), ring.end - 1), 1);
    this.pause();
    this.#current = at;
    if (!extend || this.#anchor === undefined) this.#anchor = at;
    const { top, view } = this.#scroll;
    const offset = this.#heights.offset(at);
    const height = this.#heights.height(at);
    if (offset < top || offset + height > top + view) {
      const above = middle ? (view - LINE) / 2 : offset < top ? 0 : view - Math.min(height, view);
      this.#scroll.goTo(offset - above);
    }
    this.#renew();
  }

  /** Goes on by so many lines from where the keyboard is, or from what is in view. */
  move(by: number, extend: boolean): void {
    const { top, view } = this.#scroll;
    const edge = by < 0 ? this.#heights.find(top + view - LINE) : this.#heights.find(top);
    const from = this.current;
    this.reveal(from === undefined ? edge : this.#beyond(from, by), { extend, middle: false });
  }

  /** The line so many shown ones further on. */
  #beyond(from: number, by: number): number {
    if (!this.style.hidden?.size) return from + by;
    let at = from;
    for (let left = Math.abs(by); left > 0; left -= 1) {
      const next = this.#visible(at + Math.sign(by), Math.sign(by));
      if (!this.ring.has(next) || this.#hidden(next)) break;
      at = next;
    }
    return at;
  }

  /** The next line that is shown, at a position or beyond, else the one before. */
  #visible(position: number, way: number): number {
    const { ring } = this;
    for (const step of [way, -way]) {
      let at = position;
      while (ring.has(at) && this.#hidden(at)) at += step;
      if (ring.has(at)) return at;
    }
    return position;
  }

  /** How many lines can be seen. */
  page(): number {
    return Math.max(1, Math.floor(this.#scroll.view / LINE) - 1);
  }

  /** A line that an address names, marked until another one is. */
  link(position: number): void {
    this.#linked = position;
    this.reveal(position);
  }

  /** Goes to the first line at an instant, or after it. */
  goToTime(at: number): void {
    this.reveal(this.ring.atTime(at));
  }

  /** A chart points at an instant. */
  point(at: number | undefined): void {
    if (at === this.#near) return;
    this.#near = at;
    this.#markAll();
    this.#strip.draw();
  }

  /** Goes to the next match, or to the one before. */
  step(forward: boolean): void {
    const from = this.current ?? (forward ? this.#topLine() - 1 : this.#bottomLine() + 1);
    const next = this.#find?.step(from, forward);
    if (next !== undefined) this.reveal(next);
    this.#say();
  }

  /** Unfolds a line or folds it again. */
  fold(position: number, open = !this.#open.has(position)): void {
    if (open === this.#open.has(position)) return;
    this.pause();
    if (open) this.#open.add(position);
    else {
      this.#open.delete(position);
      this.#heights.set(position, this.#estimate(position));
    }
    this.#renew();
  }

  isOpen(position: number): boolean {
    return this.#open.has(position);
  }

  /** Takes the selection away; gives whether there was one. */
  unselect(): boolean {
    const had = this.#current !== undefined || this.#linked !== undefined;
    this.#current = this.#anchor = this.#linked = undefined;
    this.#markAll();
    this.#say();
    return had;
  }

  /** The selected lines as text; undefined where none are. */
  selectedText(): string | undefined {
    const range = this.#range();
    if (!range) return undefined;
    return [...this.texts(range[0], range[1] + 1, undefined)].join("");
  }

  /** Lines as text, each with its end; only those that are found, if something is looked for. */
  *texts(from: number, to: number, find: Find | undefined): Iterable<string> {
    for (let at = Math.max(from, this.ring.first); at < Math.min(to, this.ring.end); at += 1) {
      if (find ? !find.matches(at) : this.#hidden(at)) continue;
      const whose = this.style.whose?.(this.ring.of(at))?.name;
      yield `${lineCopy(this.ring, at, whose)}\n`;
    }
  }

  get find(): Find | undefined {
    return this.#find;
  }

  /** The line that an element belongs to. */
  lineOf(target: EventTarget | null): number | undefined {
    const element = target instanceof Element ? target.closest(".log-row") : null;
    return this.#shown.find((row) => row.element === element)?.position;
  }

  #range(): [number, number] | undefined {
    const current = this.current;
    if (current === undefined) return undefined;
    const anchor = Math.max(this.#anchor ?? current, this.ring.first);
    return current < anchor ? [current, anchor] : [anchor, current];
  }

  #topLine(): number {
    return this.#heights.find(this.#scroll.top);
  }

  #bottomLine(): number {
    return this.#heights.find(this.#scroll.top + this.#scroll.view - LINE);
  }

  /** Takes over what has happened to the ring. */
  #catchUp(): void {
    const { ring } = this;
    const heights = this.#heights;
    if (ring.first >= heights.end) {
      heights.reset(ring.first);
      this.#open.clear();
      this.#current = this.#anchor = undefined;
      if (!this.following && ring.length === 0) this.following = true;
    } else if (ring.first > heights.first) {
      const dropped = heights.dropTo(ring.first);
      if (!this.following) this.#scroll.top = Math.max(0, this.#scroll.top - dropped);
      for (const position of this.#open) if (position < ring.first) this.#open.delete(position);
    }
    if (ring.first < heights.first) {
      const before = heights.total;
      while (heights.first > ring.first) heights.unshift(this.#estimate(heights.first - 1));
      // What is read stays where it is.
      if (!this.following) this.#scroll.top += heights.total - before;
    }
    while (heights.end < ring.end) heights.push(this.#estimate(heights.end));
    this.#scroll.total = heights.total;
  }

  #changed(): void {
    if (this.#stopped) return;
    this.#catchUp();
    this.#layout();
    if (this.#find) this.#seek();
    this.#strip.draw();
    this.#say();
  }

  /** Writes all rows anew. */
  #renew(): void {
    for (const row of this.#shown) row.position = -1;
    this.#changed();
  }

  #scrolled(): void {
    const scroll = this.#scroll;
    const real = this.parts.scroller.scrollTop;
    if (Math.abs(real - scroll.real) < 1) return;
    const up = real < scroll.real;
    const putRight = scroll.moved(real);
    if (scroll.bottom - scroll.top < 2) this.following = true;
    else if (up) this.pause();
    if (putRight) scroll.rest();
    clearTimeout(this.#rest);
    if (scroll.total > scroll.space) {
      this.#rest = setTimeout(() => {
        scroll.rest();
        this.#layout();
      }, REST_MS);
    }
    this.#layout();
    this.#say();
  }

  /** Runs what changes heights; the line at the top stays there. */
  #keeping(change: () => void): void {
    const line = this.#topLine();
    const within = this.#scroll.top - this.#heights.offset(line);
    change();
    this.#scroll.total = this.#heights.total;
    this.#scroll.goTo(this.#heights.offset(line) + within);
  }

  /** Of all lines that are not unfolded; what they really are is seen when they are in view. */
  #estimateAll(): void {
    this.#keeping(() => {
      const open = [...this.#open].map((at) => [at, this.#heights.height(at)] as const);
      this.#heights.renew((position) => this.#estimate(position));
      for (const [position, height] of open) {
        if (!this.#hidden(position)) this.#heights.set(position, height);
      }
    });
  }

  #estimate(position: number): number {
    if (this.#hidden(position)) return 0;
    if (!this.style.wrap) return LINE;
    const shown = Math.min(this.ring.head(position), FOLDED_CHARS);
    return Math.max(1, Math.ceil(shown / this.#perLine)) * LINE;
  }

  /** Puts the lines that can be seen into the document. */
  #layout(): void {
    const scroll = this.#scroll;
    scroll.goTo(this.following ? scroll.bottom : scroll.top);
    this.#place();
    if (this.#measure()) {
      scroll.total = this.#heights.total;
      scroll.goTo(this.following ? scroll.bottom : scroll.top);
      this.#place();
    }
    this.#markAll();
    if (this.ring.length === 0) return;
    if (!this.following && this.#topLine() - this.ring.first < EDGE) this.edge("older");
    if (this.ring.end - this.#bottomLine() < EDGE) this.edge("newer");
  }

  #place(): void {
    const { ring } = this;
    const { scroller, space, host } = this.parts;
    const scroll = this.#scroll;
    const heights = this.#heights;
    host.hidden = ring.length === 0;
    if (scroll.space !== this.#spaceHeight) {
      this.#spaceHeight = scroll.space;
      space.style.height = `${scroll.space}px`;
    }
    if (ring.length === 0) return this.#rows(0, 0);
    const first = heights.find(scroll.top - MARGIN);
    const last = heights.find(scroll.top + scroll.view + MARGIN);
    this.#rows(first, last + 1);
    host.style.transform = `translateY(${scroll.real + heights.offset(first) - scroll.top}px)`;
    if (Math.abs(scroller.scrollTop - scroll.real) >= 1) {
      scroller.scrollTop = scroll.real;
    }
  }

  /** The rows of the lines from `first` to before `end`, in their order. */
  #rows(first: number, end: number): void {
    const { host } = this.parts;
    const staying = new Map<number, LogRow>();
    for (const row of this.#shown) {
      if (row.position >= first && row.position < end) staying.set(row.position, row);
      else this.#spare.push(row);
    }
    const shown: LogRow[] = [];
    for (let position = first; position < end; position += 1) {
      if (this.#hidden(position)) continue;
      let row = staying.get(position);
      if (!row) {
        row = this.#spare.pop() ?? new LogRow(this.#prefix);
        row.show(this.ring, position, this.style, this.#open.has(position));
      }
      shown.push(row);
    }
    for (const { element } of this.#spare) element.remove();
    let before: Element | null = null;
    for (const { element } of shown) {
      const next: ChildNode | null = before ? before.nextSibling : host.firstChild;
      if (element !== next) host.insertBefore(element, next);
      before = element;
    }
    this.#shown = shown;
  }

  /** Notes how high rows have become; gives whether something else was expected. */
  #measure(): boolean {
    let changed = false;
    const { top } = this.#scroll;
    let grown = 0;
    for (const { element, position } of this.#shown) {
      const fixed = !this.style.wrap && !this.#open.has(position) && !this.ring.special(position);
      if (fixed && this.#heights.height(position) === LINE) continue;
      const by = this.#heights.set(position, fixed ? LINE : element.offsetHeight);
      if (by === 0) continue;
      changed = true;
      // What is above the view has grown: what is in view stays where it is.
      if (this.#heights.offset(position) + this.#heights.height(position) - by <= top) grown += by;
    }
    this.#scroll.top += grown;
    return changed;
  }

  #markAll(): void {
    const range = this.#range();
    for (const row of this.#shown) {
      const { position } = row;
      const selected = range !== undefined && position >= range[0] && position <= range[1];
      const near =
        this.#near !== undefined && Math.abs(this.ring.at(position) - this.#near) <= NEAR_MS;
      row.mark(selected, position === this.#current, near, position === this.#linked);
    }
    const { scroller } = this.parts;
    const active = this.#current === undefined ? "" : `${this.#prefix}${this.#current}`;
    if (active) scroller.setAttribute("aria-activedescendant", active);
    else scroller.removeAttribute("aria-activedescendant");
  }

  /** Looks on for what is looked for, a slice a frame. */
  #seek(): void {
    if (this.#seeking || !this.#find) return;
    const begun = performance.now();
    this.#find.run(() => performance.now() - begun > SLICE_MS);
    if (this.#find.done) return;
    this.#seeking = true;
    requestAnimationFrame(() => {
      this.#seeking = false;
      if (this.#stopped) return;
      this.#seek();
      this.#strip.draw();
      this.#say();
    });
  }

  #say(): void {
    const find = this.#find;
    const current = this.current;
    const range = this.#range();
    if (this.following) this.#seen = this.ring.end;
    const at = find && current !== undefined && find.matches(current) ? current : undefined;
    this.tell({
      lines: this.ring.length,
      following: this.following,
      fresh: this.ring.end - Math.max(this.#seen, this.ring.first),
      matches: find && {
        count: find.count,
        rank: at === undefined ? undefined : find.rank(at) + 1,
        done: find.done,
        hard: find.pattern.givenUp,
      },
      selected: range ? range[1] - range[0] + 1 : 0,
    });
  }
}

const widths = new Map<string, number>();

/** How wide a character of the log's font is, pixels. */
function charWidth(element: Element): number {
  const { font } = getComputedStyle(element);
  let width = widths.get(font);
  if (width === undefined) {
    const context = document.createElement("canvas").getContext("2d");
    if (context) context.font = font;
    width = (context?.measureText("0".repeat(100)).width ?? 720) / 100;
    widths.set(font, width);
  }
  return width;
}
