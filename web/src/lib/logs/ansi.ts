/**
 * The colours that a line asks a terminal for (ECMA-48, 8.3.117 "Select Graphic Rendition"; the
 * extended ones by ITU-T T.416), as classes. Every other escape sequence is left out.
 */

/** A part of a line that looks the same throughout. */
export interface Part {
  text: string;
  /** Classes: `a-1` to `a-15` the colour of the text, `b-0` to `b-15` that behind it, and so on. */
  look: string;
}

interface Look {
  fore: number | undefined;
  back: number | undefined;
  bold: boolean;
  faint: boolean;
  italic: boolean;
  under: boolean;
  struck: boolean;
  turned: boolean;
}

const PLAIN: Look = {
  fore: undefined,
  back: undefined,
  bold: false,
  faint: false,
  italic: false,
  under: false,
  struck: false,
  turned: false,
};

// CSI, then parameters, intermediate bytes and the final one; OSC and the other strings up to
// their end; two-byte sequences; the same by C1 characters. One that has no end takes nothing with
// it but its beginning.
const SEQUENCE =
  /(?:\x1b\[|\x9b)([0-?]*)[ -/]*([@-~])|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]|\x1b|\x9b/g;

/** Whether there is something to read here. */
export function isColoured(raw: string): boolean {
  return raw.includes("\x1b[") || raw.includes("\x9b");
}

/** The parts of a line; their texts together are the line without its sequences. */
export function parts(raw: string): Part[] {
  const found: Part[] = [];
  let look = PLAIN;
  let name = "";
  let from = 0;
  const add = (text: string) => {
    const last = found.at(-1);
    if (text === "") return;
    if (last?.look === name) last.text += text;
    else found.push({ text, look: name });
  };
  for (const match of raw.matchAll(SEQUENCE)) {
    add(raw.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[2] === "m" && match[1] !== undefined && !/[<-?]/.test(match[1])) {
      look = select(look, match[1]);
      name = classes(look);
    }
  }
  add(raw.slice(from));
  return found;
}

/** What a look is after the parameters of an SGR. */
function select(before: Look, parameters: string): Look {
  const look = { ...before };
  // 38:2::1:2:3 in one parameter, or 38;2;1;2;3 in several. No more than a terminal takes.
  const given = parameters.split(";", 64);
  for (let i = 0; i < given.length; i += 1) {
    const subs = (given[i] ?? "").split(":", 8);
    const code = Number(subs[0] || 0);
    if (code === 38 || code === 48) {
      const apart = subs.length > 1;
      const rest = apart ? subs.slice(1) : given.slice(i + 1, i + 5);
      const { colour, used } = extended(rest, apart);
      if (!apart) i += used;
      if (code === 38) look.fore = colour ?? look.fore;
      else look.back = colour ?? look.back;
    } else if (code === 0) Object.assign(look, PLAIN);
    else if (code === 1) look.bold = true;
    else if (code === 2) look.faint = true;
    else if (code === 3) look.italic = true;
    else if (code === 4) look.under = subs[1] !== "0";
    else if (code === 7) look.turned = true;
    else if (code === 9) look.struck = true;
    else if (code === 21) look.under = true;
    else if (code === 22) look.bold = look.faint = false;
    else if (code === 23) look.italic = false;
    else if (code === 24) look.under = false;
    else if (code === 27) look.turned = false;
    else if (code === 29) look.struck = false;
    else if (code >= 30 && code <= 37) look.fore = code - 30;
    else if (code === 39) look.fore = undefined;
    else if (code >= 40 && code <= 47) look.back = code - 40;
    else if (code === 49) look.back = undefined;
    else if (code >= 90 && code <= 97) look.fore = code - 82;
    else if (code >= 100 && code <= 107) look.back = code - 92;
  }
  return look;
}

/** The colour after 38 or 48, and how many parameters tell it. */
function extended(rest: string[], apart: boolean): { colour: number | undefined; used: number } {
  const numbers = rest.map((text) => Number(text || 0));
  if (numbers[0] === 5) return { colour: indexed(numbers[1] ?? 0), used: 2 };
  if (numbers[0] !== 2) return { colour: undefined, used: 1 };
  // With colons a colour space may stand before the three.
  const at = apart && numbers.length > 4 ? 2 : 1;
  const [r = 0, g = 0, b = 0] = numbers.slice(at, at + 3);
  return { colour: nearest(r, g, b), used: 4 };
}

/** One of 256 colours as one of sixteen. */
function indexed(n: number): number | undefined {
  if (!(n >= 0 && n <= 255)) return undefined;
  if (n < 16) return n;
  if (n >= 232) return nearest(8 + (n - 232) * 10, 8 + (n - 232) * 10, 8 + (n - 232) * 10);
  const step = (part: number) => [0, 95, 135, 175, 215, 255][part % 6] ?? 0;
  return nearest(step(Math.floor((n - 16) / 36)), step(Math.floor((n - 16) / 6)), step(n - 16));
}

/** The sixteen as xterm has them; the page's own are chosen to be read on its background. */
const SIXTEEN: readonly (readonly [number, number, number])[] = [
  [0, 0, 0],
  [205, 0, 0],
  [0, 205, 0],
  [205, 205, 0],
  [0, 0, 238],
  [205, 0, 205],
  [0, 205, 205],
  [229, 229, 229],
  [127, 127, 127],
  [255, 0, 0],
  [0, 255, 0],
  [255, 255, 0],
  [92, 92, 255],
  [255, 0, 255],
  [0, 255, 255],
  [255, 255, 255],
];

function nearest(r: number, g: number, b: number): number {
  let best = 0;
  let least = Infinity;
  for (const [n, [x, y, z]] of SIXTEEN.entries()) {
    const distance = (r - x) ** 2 + (g - y) ** 2 + (b - z) ** 2;
    if (distance < least) [best, least] = [n, distance];
  }
  return best;
}

function classes(look: Look): string {
  const [fore, back] = look.turned ? [look.back ?? -1, look.fore ?? -2] : [look.fore, look.back];
  const names: string[] = [];
  if (fore !== undefined) names.push(fore === -1 ? "a-back" : `a-${fore}`);
  if (back !== undefined) names.push(back === -2 ? "b-fore" : `b-${back}`);
  if (look.bold) names.push("a-bold");
  if (look.faint) names.push("a-faint");
  if (look.italic) names.push("a-italic");
  if (look.under) names.push("a-under");
  if (look.struck) names.push("a-struck");
  return names.join(" ");
}
