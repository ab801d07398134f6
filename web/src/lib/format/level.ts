/** When a number means trouble. Amber asks for a look, red for a hand; everything else is grey. */

export type Level = "" | "warn" | "bad";

/** From where on a value is amber and red. A busy processor alone is never red. */
const LIMITS = {
  cpu: [90, Infinity],
  memory: [85, 95],
  disk: [85, 95],
  swap: [60, 90],
  temperature: [80, 90],
} as const;

export type Gauged = keyof typeof LIMITS;

export function level(kind: Gauged, value: number | null | undefined): Level {
  if (value == null) return "";
  const [warn, bad] = LIMITS[kind];
  return value >= bad ? "bad" : value >= warn ? "warn" : "";
}
