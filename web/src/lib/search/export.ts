/** All that a search finds, as a file: also what is not shown. */
import { ApiError } from "../api";
import { flow, type Parameters, type StoredLine } from "../logs/stored";
import { saveText } from "../logs/take";

export type Format = "ndjson" | "text";

/** Saves everything that is found, newest first; gives how many lines. Throws where it broke off. */
export async function exportLines(
  parameters: Parameters,
  format: Format,
  signal: AbortSignal,
): Promise<number> {
  const parts: string[] = [];
  let count = 0;
  for await (const chunk of flow(parameters, signal)) {
    const some: string[] = [];
    for (const text of chunk) {
      // A line of the log begins with its place.
      if (text.startsWith('{"progress":')) continue;
      if (text.startsWith('{"error":')) {
        const { error } = JSON.parse(text) as { error: { code: string; message: string } };
        throw new ApiError(0, error.code, error.message);
      }
      some.push(format === "ndjson" ? `${text}\n` : storedText(JSON.parse(text) as StoredLine));
    }
    count += some.length;
    parts.push(some.join(""));
  }
  saveText(parts, "search", format === "ndjson" ? "ndjson" : "log");
  return count;
}

/** A line with its end: when, how grave, of what, and as it came. */
export function storedText(line: StoredLine): string {
  const level = (line.level ?? "-").padEnd(5);
  const cut = line.cut ? ` [${line.cut} bytes cut off]` : "";
  const text = line.marker ? `---- ${line.message || line.marker}` : (line.raw ?? line.message);
  return `${line.timestamp} ${level} ${line.deviceName}/${line.name} | ${text}${cut}\n`;
}
