import { expect, test } from "vitest";
import { Unsupported } from "./program";
import { Plain, Regex } from "./regex";

/** What the browser's own finds: nothing of no length. */
function native(source: string, flags: string, text: string): [number, number][] {
  const found: [number, number][] = [];
  for (const match of text.matchAll(new RegExp(source, `g${flags}`))) {
    if (match[0] !== "") found.push([match.index, match.index + match[0].length]);
  }
  return found;
}

const TEXT = "GET /a/b 200 in 17 ms\nuser=ann, Ärger_1 \u2028 aaa.b [x] 😀 ſK\r\n";

test.each([
  ["\\d+ in \\d+", ""],
  ["^user", ""],
  ["^user", "m"],
  ["ms$|\\]", "m"],
  ["a+?", ""],
  ["a{2}", ""],
  ["a{2,}", ""],
  ["a{0,2}b?", ""],
  ["(?:a|aa)(?<end>a|b)?", ""],
  ["(?:get|USER)", "i"],
  ["ä", "i"],
  ["[ä-ö]rger", "i"],
  ["\\bms\\b", ""],
  ["\\Bs", ""],
  ["[^\\w\\s]+", ""],
  ["[\\]x[]+", ""],
  [".+", ""],
  [".+", "s"],
  ["[^]{3}", ""],
  ["\\x61\\u0061", ""],
  ["\\u{61}+", "u"],
  ["\\p{Lu}\\p{L}*", "u"],
  ["😀", "u"],
  ["a{,2}", ""],
  ["\\.|\\/|\\(", ""],
  ["()|b", ""],
  ["k", "i"],
])("/%s/%s finds what the browser finds", (source, flags) => {
  const regex = new Regex(source, flags);
  expect(regex.places(TEXT)).toEqual(native(source, flags, TEXT));
  expect(regex.test(TEXT)).toBe(new RegExp(source, flags).test(TEXT));
});

/** Numbers that are the same each time. */
function random(seed: number): (below: number) => number {
  return (below) => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
}

/** An expression that is never of no length inside a repeat: there the browser has rules of its own. */
function expression(pick: (below: number) => number, depth: number): string {
  const atoms = ["a", "b", "c", ".", "[ab]", "[^a]", "\\w", "\\s"];
  const atom = () => atoms[pick(atoms.length)] ?? "a";
  const repeats = ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{1,3}?", "{2,}"];
  let text = "";
  for (let i = pick(3); i >= 0; i -= 1) {
    const kind = depth > 0 ? pick(6) : pick(3);
    if (kind <= 1) text += atom();
    else if (kind === 2) text += atom() + (repeats[pick(repeats.length)] ?? "");
    else if (kind === 3) {
      text += `(?:${atom()}${expression(pick, depth - 1)}|${atom()})${repeats[pick(repeats.length)] ?? ""}`;
    } else if (kind === 4)
      text += `(${expression(pick, depth - 1)}|${expression(pick, depth - 1)})`;
    else text += ["^", "$", "\\b", "\\B"][pick(4)] ?? "";
  }
  return text;
}

test("any expression finds what the browser finds", () => {
  for (let seed = 1; seed <= 3_000; seed += 1) {
    const pick = random(seed);
    const source = expression(pick, 2);
    const flags = ["", "i", "m", "s"][pick(4)] ?? "";
    const regex = new Regex(source, flags);
    for (let i = 0; i < 4; i += 1) {
      const text = Array.from({ length: pick(14) }, () => "aabbcA _\n"[pick(9)]).join("");
      const what = `/${source}/${flags} in ${JSON.stringify(text)}`;
      expect(regex.test(text), what).toBe(new RegExp(source, flags).test(text));
      expect(regex.places(text), what).toEqual(native(source, flags, text));
    }
  }
});

test.each([
  ["(?=a)b", /ahead/],
  ["(?<!a)b", /ahead or back/],
  ["(a)\\1", /refers back/],
  ["(?<x>a)\\k<x>", /refers back/],
  ["a{1001}", /too long/],
  ["(a{40}){40}", /too long/],
])("/%s/ is refused", (source, why) => {
  expect(() => new Regex(source)).toThrow(Unsupported);
  expect(() => new Regex(source)).toThrow(why);
});

test("what is no expression is told in the browser's words", () => {
  expect(() => new Regex("(")).toThrow(SyntaxError);
});

test.each([
  ["(a+)+$", "a".repeat(200_000) + "!"],
  ["(a|a)*b", "a".repeat(200_000)],
  [".*.*.*x", "a".repeat(200_000)],
  [`${"a?".repeat(60)}${"a".repeat(60)}b`, "a".repeat(200_000)],
  ["\\d+x", "1".repeat(200_000)],
  ["[ab]*a[ab]{400}c", "ab".repeat(100_000)],
  ["a.*b|a", "a".repeat(200_000)],
])("/%s/ ends soon on a line of 200,000 characters", (source, text) => {
  const regex = new Regex(source);
  const begun = performance.now();
  regex.test(text);
  regex.places(text);
  expect(performance.now() - begun).toBeLessThan(1_500);
});

test("what it gives up on is counted", () => {
  const regex = new Regex("[ab]*a[ab]{400}c");
  const pick = random(7);
  const text = Array.from({ length: 100_000 }, () => "ab"[pick(2)]).join("");
  expect([regex.test(text), regex.givenUp]).toEqual([false, 1]);
});

test("a plain text is found as it is, in any case", () => {
  const plain = new Plain("a.B*");
  expect([plain.test("xA.b*"), plain.test("aab")]).toEqual([true, false]);
  expect(plain.places("a.b* A.B*")).toEqual([
    [0, 4],
    [5, 9],
  ]);
});
