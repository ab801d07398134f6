/**
 * A regular expression as a program for machines that never go back: `^ $ \b`, sets of characters,
 * and forks. What cannot be said so (a look ahead, a reference back) is refused.
 */
import { atomSet, literalSet, type Ranges } from "./sets";

/** The longest program: `x{1000}` is a thousand steps. It bounds what a character may cost. */
const MOST_STEPS = 1_000;

export class Unsupported extends Error {}

export const enum Op {
  /** One character of the set `x`. */
  Char,
  /** On at `x`, or, if that leads nowhere, at `y`. */
  Fork,
  /** On at `x`. */
  Jump,
  /** Only where `x` (an `Assert`) holds. */
  Assert,
  Match,
}

export const enum Assert {
  Begin,
  End,
  LineBegin,
  LineEnd,
  Boundary,
  NoBoundary,
}

export interface Step {
  op: Op;
  x: number;
  y: number;
}

export interface Program {
  steps: readonly Step[];
  sets: readonly Ranges[];
  /** Whether what stands around a character matters. */
  asserts: boolean;
}

const QUANTIFIER = /(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})(\??)/y;
const ESCAPE = /\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|c[A-Za-z]|.)/sy;
const ESCAPE_U =
  /\\(?:u\{[0-9a-fA-F]+\}|[pP]\{[^}]*\}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|c[A-Za-z]|.)/sy;
const CLASS = /\[(?:[^\]\\]|\\.)*\]/sy;
const OPEN = /\((?:\?(:|<(?![=!])[^>]*>|.))?/sy;

/**
 * Reads an expression in the syntax of the browser.
 *
 * @throws {SyntaxError} with the browser's words.
 * @throws {Unsupported} where it says what only a machine that goes back can find. */
export function compile(source: string, flags: string): Program {
  void new RegExp(source, flags);
  return new Compiler(source, flags).program();
}

class Compiler {
  #at = 0;
  #steps: Step[] = [];
  #sets: Ranges[] = [];
  #known = new Map<string, number>();
  #asserts = false;
  readonly #unicode: boolean;

  constructor(
    private readonly source: string,
    private readonly flags: string,
  ) {
    this.#unicode = flags.includes("u");
  }

  program(): Program {
    this.#choice();
    this.#add(Op.Match);
    return { steps: this.#steps, sets: this.#sets, asserts: this.#asserts };
  }

  #add(op: Op, x = 0, y = 0): number {
    if (this.#steps.length >= MOST_STEPS) throw new Unsupported("it is too long");
    return this.#steps.push({ op, x, y }) - 1;
  }

  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.source);
    if (match) this.#at += match[0].length;
    return match ?? undefined;
  }

  #choice(): void {
    const begin = this.#steps.length;
    this.#row();
    if (this.source[this.#at] !== "|") return;
    this.#at += 1;
    this.#insert(begin, { op: Op.Fork, x: begin + 1, y: 0 });
    const jump = this.#add(Op.Jump);
    (this.#steps[begin] as Step).y = this.#steps.length;
    this.#choice();
    (this.#steps[jump] as Step).x = this.#steps.length;
  }

  #row(): void {
    while (this.#at < this.source.length && !"|)".includes(this.source[this.#at] ?? "")) {
      const begin = this.#steps.length;
      this.#term();
      const quantifier = this.#take(QUANTIFIER);
      if (quantifier) this.#repeat(begin, quantifier);
    }
  }

  #term(): void {
    const char = this.source[this.#at] ?? "";
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return this.#class();
      case "\\":
        return this.#escape();
      case ".":
        this.#at += 1;
        return this.#set(".", () => atomSet(".", this.flags));
      case "^":
      case "$": {
        this.#at += 1;
        const lines = this.flags.includes("m");
        if (char === "^") return this.#assert(lines ? Assert.LineBegin : Assert.Begin);
        return this.#assert(lines ? Assert.LineEnd : Assert.End);
      }
      default:
        this.#at += 1;
        this.#literal(char);
        // With `u` a quantifier means both halves.
        if (this.#unicode && /[\ud800-\udbff]/.test(char)) {
          this.#literal(this.source[this.#at] ?? "");
          this.#at += 1;
        }
    }
  }

  #group(): void {
    const [, kind] = this.#take(OPEN) ?? [];
    if (kind !== undefined && kind !== ":" && !/^<./s.test(kind)) {
      throw new Unsupported("it looks ahead or back, which may take for ever");
    }
    if (kind === "<") throw new Unsupported("it looks ahead or back, which may take for ever");
    this.#choice();
    this.#at += 1;
  }

  #class(): void {
    const [text = ""] = this.#take(CLASS) ?? [];
    if (/[\ud800-\udfff]|\\u\{[0-9a-f]{5}/i.test(text)) {
      throw new Unsupported("of such characters no class can be made here");
    }
    this.#set(text, () => atomSet(text, this.flags));
  }

  #escape(): void {
    const [text = ""] = this.#take(this.#unicode ? ESCAPE_U : ESCAPE) ?? [];
    const letter = text[1] ?? "";
    if (letter === "b") return this.#assert(Assert.Boundary);
    if (letter === "B") return this.#assert(Assert.NoBoundary);
    if (/[1-9k]/.test(letter)) throw new Unsupported("it refers back, which may take for ever");
    if (/^\\u\{/.test(text)) {
      const char = String.fromCodePoint(parseInt(text.slice(3, -1), 16));
      for (let i = 0; i < char.length; i += 1) this.#literal(char[i] ?? "");
      return;
    }
    this.#set(text, () => atomSet(text, this.flags));
  }

  #literal(char: string): void {
    this.#set(`'${char}`, () => literalSet(char, this.flags));
  }

  #set(key: string, make: () => Ranges): void {
    let number = this.#known.get(key);
    if (number === undefined) {
      number = this.#sets.push(make()) - 1;
      this.#known.set(key, number);
    }
    this.#add(Op.Char, number);
  }

  #assert(kind: Assert): void {
    this.#asserts = true;
    this.#add(Op.Assert, kind);
  }

  /** Repeats the steps from `begin` on as a quantifier says. */
  #repeat(begin: number, [text, from, comma, to, lazy]: RegExpExecArray): void {
    const body = this.#steps.splice(begin).map((step) => ({ ...step }));
    const [least, most] =
      from === undefined
        ? [text.startsWith("+") ? 1 : 0, text.startsWith("?") ? 1 : Infinity]
        : [Number(from), comma === undefined ? Number(from) : to ? Number(to) : Infinity];
    for (let i = 0; i < least; i += 1) this.#copy(body, begin);
    const fork = () => this.#add(Op.Fork);
    /** The way into another round comes first, or of a lazy one last. */
    const lead = (at: number, on: number, out: number) => {
      const step = this.#steps[at] as Step;
      [step.x, step.y] = lazy ? [out, on] : [on, out];
    };
    if (most === Infinity) {
      const at = fork();
      this.#copy(body, begin);
      this.#add(Op.Jump, at);
      lead(at, at + 1, this.#steps.length);
      return;
    }
    const forks: number[] = [];
    for (let i = least; i < most; i += 1) {
      forks.push(fork());
      this.#copy(body, begin);
    }
    for (const at of forks) lead(at, at + 1, this.#steps.length);
  }

  /** Adds steps that were made to stand at `from`. */
  #copy(body: readonly Step[], from: number): void {
    const by = this.#steps.length - from;
    for (const step of body) this.#add(step.op, moved(step, "x", 0, by), moved(step, "y", 0, by));
  }

  /** Puts a step before others, which move on by one. */
  #insert(at: number, step: Step): void {
    if (this.#steps.length >= MOST_STEPS) throw new Unsupported("it is too long");
    for (const other of this.#steps.slice(at)) {
      other.x = moved(other, "x", at, 1);
      other.y = moved(other, "y", at, 1);
    }
    this.#steps.splice(at, 0, step);
  }
}

/** Where a step leads when all from `at` on have moved. */
function moved(step: Step, to: "x" | "y", at: number, by: number): number {
  const leads = step.op === Op.Fork || (step.op === Op.Jump && to === "x");
  return leads && step[to] >= at ? step[to] + by : step[to];
}
