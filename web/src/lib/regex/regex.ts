/**
 * Regular expressions that cannot hold up the page. A browser's own goes back and tries again, so
 * that one line can keep it busy for ever; here each character is looked at once, with all that may
 * go on from there side by side. What was worked out is kept, so that the usual character costs two
 * look-ups in tables.
 */
import { Assert, compile, Op, type Program } from "./program";
import { classes, has, type Ranges } from "./sets";

/** What is looked for in texts. */
export interface Pattern {
  /** Whether it is there. */
  test(text: string): boolean;
  /** Where, as [from, to] pairs, at most so many; nothing of no length. */
  places(text: string, most?: number): [number, number][];
  /** How much work it has done so far, in steps. */
  readonly work: number;
  /** Texts that it gave up on, since they would have taken too long. */
  readonly givenUp: number;
}

/** Steps of new work that a text may take to see whether it matches, some 30 ms, and where. */
const MOST_WORK = 200_000;
const MOST_WORK_PLACES = 1_000_000;
/** States that are kept; beyond, all are forgotten and found anew. */
const MOST_STATES = 1_000;

const WORD: Ranges = [48, 57, 65, 90, 95, 95, 97, 122];
const NEWLINE: Ranges = [10, 10, 13, 13, 0x2028, 0x2029];

/** What stands beside a place. */
const enum Side {
  /** Nothing: the text begins or ends. */
  Edge,
  Word,
  Newline,
  Other,
}

/** States by number; two of them are none. */
const UNKNOWN = 0;
const FOUND = 1;

/** All that may go on after a character. */
interface State {
  steps: readonly number[];
  before: Side;
}

export class Regex implements Pattern {
  work = 0;
  givenUp = 0;

  #program: Program;
  /** Each code unit's class; the last class is the end of the text. */
  #classOf: Uint16Array;
  #classes: number;
  #sides: Side[] = [];
  /** Whether a set has a class, by `set * classes + class`. */
  #member: Uint8Array;

  #states: State[] = [];
  #numbers = new Map<string, number>();
  #next = new Int32Array(0);

  /** Steps that were come to, by the round in which they were. */
  #seen: Uint32Array;
  #round = 0;

  /** @throws {SyntaxError | Unsupported} where the expression is none, or none for us. */
  constructor(source: string, flags = "") {
    const program = (this.#program = compile(source, flags));
    const { sets } = program;
    const { of, units } = classes(program.asserts ? [...sets, WORD, NEWLINE] : sets);
    this.#classOf = of;
    this.#classes = units.length + 1;
    this.#sides = units.map((unit) =>
      has(WORD, unit) ? Side.Word : has(NEWLINE, unit) ? Side.Newline : Side.Other,
    );
    this.#sides.push(Side.Edge);
    this.#member = new Uint8Array(sets.length * this.#classes);
    for (const [s, set] of sets.entries()) {
      for (const [c, unit] of units.entries()) {
        if (has(set, unit)) this.#member[s * this.#classes + c] = 1;
      }
    }
    this.#seen = new Uint32Array(program.steps.length);
    this.#forget();
  }

  test(text: string): boolean {
    const all = this.#classes;
    const classOf = this.#classOf;
    const limit = this.work + MOST_WORK;
    let state = this.#number({ steps: [], before: Side.Edge });
    for (let i = 0; i <= text.length; i += 1) {
      const which = i < text.length ? (classOf[text.charCodeAt(i)] ?? 0) : all - 1;
      let next = this.#next[state * all + which] ?? UNKNOWN;
      if (next === UNKNOWN) {
        if (this.work > limit) {
          this.givenUp += 1;
          return false;
        }
        next = this.#step(state, which);
      }
      if (next === FOUND) return true;
      state = next;
    }
    return false;
  }

  places(text: string, most = 200): [number, number][] {
    const found: [number, number][] = [];
    const limit = this.work + MOST_WORK_PLACES;
    for (let from = 0; found.length < most && from <= text.length && this.work < limit;) {
      const place = this.#search(text, from, limit);
      if (!place) break;
      if (place[1] > place[0]) found.push(place);
      from = Math.max(place[1], place[0] + (place[1] > place[0] ? 0 : 1));
    }
    return found;
  }

  /** The first place from an index on, as long as the expression prefers it. */
  #search(text: string, from: number, limit: number): [number, number] | undefined {
    const { steps } = this.#program;
    const all = this.#classes;
    let best: [number, number] | undefined;
    // The ways that are open, the preferred one first, and where each began.
    let ways: number[] = [];
    let begins: number[] = [];
    for (let i = from; i <= text.length; i += 1) {
      const which = i < text.length ? (this.#classOf[text.charCodeAt(i)] ?? 0) : all - 1;
      const before =
        i > 0 ? (this.#sides[this.#classOf[text.charCodeAt(i - 1)] ?? 0] ?? Side.Other) : Side.Edge;
      const after = this.#sides[which] ?? Side.Other;
      if (!best) {
        ways.push(0);
        begins.push(i);
      }
      if (ways.length === 0 || this.work > limit) break;
      const [on, onBegins]: [number[], number[]] = [[], []];
      this.#round += 1;
      for (const [w, way] of ways.entries()) {
        const begin = begins[w] ?? 0;
        let ended = false;
        for (const at of this.#open(way, before, after)) {
          const step = steps[at];
          if (step?.op === Op.Match) {
            best = [begin, i];
            ended = true;
            break;
          }
          if (step && this.#member[step.x * all + which]) {
            on.push(at + 1);
            onBegins.push(begin);
          }
        }
        // What would be preferred less does not count any more.
        if (ended) break;
      }
      [ways, begins] = [on, onBegins];
    }
    return best;
  }

  /** The characters and ends that a way comes to without going on in the text, in their order. */
  #open(way: number, before: Side, after: Side): number[] {
    const { steps } = this.#program;
    const open: number[] = [];
    const stack = [way];
    for (let at; (at = stack.pop()) !== undefined;) {
      if (this.#seen[at] === this.#round) continue;
      this.#seen[at] = this.#round;
      this.work += 1;
      const step = steps[at];
      if (!step) continue;
      if (step.op === Op.Jump) stack.push(step.x);
      else if (step.op === Op.Fork) stack.push(step.y, step.x);
      else if (step.op !== Op.Assert) open.push(at);
      else if (holds(step.x, before, after)) stack.push(at + 1);
    }
    return open;
  }

  /** Works out where a state leads to by a class of characters. */
  #step(number: number, which: number): number {
    const state = this.#states[number] ?? { steps: [], before: Side.Edge };
    const { steps } = this.#program;
    const after = this.#sides[which] ?? Side.Other;
    const next: number[] = [];
    let to: number | undefined;
    this.#round += 1;
    // A place may begin anywhere.
    for (const way of [...state.steps, 0]) {
      for (const at of this.#open(way, state.before, after)) {
        const step = steps[at];
        if (step?.op === Op.Match) to = FOUND;
        else if (step && this.#member[step.x * this.#classes + which]) next.push(at + 1);
      }
    }
    if (to === undefined) {
      if (this.#states.length >= MOST_STATES) this.#forget();
      next.sort((a, b) => a - b);
      const made = { steps: next, before: this.#program.asserts ? after : Side.Edge };
      const from = this.#number(state);
      to = this.#number(made);
      this.#next[from * this.#classes + which] = to;
      return to;
    }
    this.#next[number * this.#classes + which] = to;
    return to;
  }

  #number(state: State): number {
    const key = `${state.before} ${state.steps.join(" ")}`;
    let number = this.#numbers.get(key);
    if (number !== undefined) return number;
    number = this.#states.push(state) - 1;
    this.#numbers.set(key, number);
    const size = this.#states.length * this.#classes;
    if (size > this.#next.length) {
      const grown = new Int32Array(size * 2);
      grown.set(this.#next);
      this.#next = grown;
    }
    return number;
  }

  #forget(): void {
    // The two numbers that are no states.
    this.#states = [UNKNOWN, FOUND].map(() => ({ steps: [], before: Side.Edge }));
    this.#numbers.clear();
    this.#next.fill(UNKNOWN);
  }
}

function holds(assert: Assert, before: Side, after: Side): boolean {
  switch (assert) {
    case Assert.Begin:
      return before === Side.Edge;
    case Assert.End:
      return after === Side.Edge;
    case Assert.LineBegin:
      return before === Side.Edge || before === Side.Newline;
    case Assert.LineEnd:
      return after === Side.Edge || after === Side.Newline;
    case Assert.Boundary:
      return (before === Side.Word) !== (after === Side.Word);
    case Assert.NoBoundary:
      return (before === Side.Word) === (after === Side.Word);
    default:
      return false;
  }
}

/** A text that is found as it is, in any case: the browser has no way to go back in it. */
export class Plain implements Pattern {
  work = 0;
  readonly givenUp = 0;
  #pattern: RegExp;

  constructor(text: string) {
    this.#pattern = new RegExp(text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "gi");
  }

  test(text: string): boolean {
    this.#pattern.lastIndex = 0;
    return this.#pattern.test(text);
  }

  places(text: string, most = 200): [number, number][] {
    const found: [number, number][] = [];
    this.#pattern.lastIndex = 0;
    for (let match; found.length < most && (match = this.#pattern.exec(text));) {
      found.push([match.index, match.index + match[0].length]);
    }
    return found;
  }
}
