/** Stored lines, as the hub's HTTP API tells them (docs/logs.md). */
import { ApiError } from "../api";
import type { LogLine } from "../live/types";
import { Lines } from "./ndjson";

/** A line, where it is stored and of what. */
export interface StoredLine extends LogLine {
  place: string;
  /** `deviceUuid:containerId` */
  streamId: string;
  deviceUuid: string;
  deviceName: string;
  name: string;
  project?: string;
  service?: string;
}

/** How far a search has come: blocks of lines, and those looked at or ruled out. */
export interface SearchProgress {
  blocks: number;
  done: number;
  /** Lines that were looked at. */
  lines: number;
  damagedLines: number;
}

export interface StoredPage {
  lines: StoredLine[];
  /** Where the next page begins; null at the end. */
  cursor: string | null;
}

/** What is stored of one container. */
export interface StoredStream {
  deviceUuid: string;
  deviceName: string;
  containerId: string;
  name: string;
  image?: string;
  project?: string;
  service?: string;
  lines: number;
  first: string;
  last: string;
}

/** Of a search; several values of one name mean any of them. */
export type Parameters = Record<string, string | readonly string[] | undefined>;

export type Format = "ndjson" | "text";

function address(parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of typeof value === "string" ? [value] : (value ?? [])) {
      if (one) query.append(name, one);
    }
  }
  return `/api/v1/logs/search?${query.toString()}`;
}

/** Where the browser itself gets everything that is found: it streams to a file. */
export function exportHref(parameters: Parameters, format: Format): string {
  return address({ ...parameters, download: format });
}

async function ask(path: string, accept: string, signal: AbortSignal): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      credentials: "same-origin",
      cache: "no-store",
      headers: { accept },
      signal,
    });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ApiError(0, "UNREACHABLE", "The hub does not answer. Is it running?");
  }
  if (answer.ok) return answer;
  const told = (await answer.json().catch(() => undefined)) as
    { error?: { code?: string; message?: string } } | undefined;
  throw new ApiError(
    answer.status,
    told?.error?.code ?? "UNKNOWN",
    told?.error?.message ?? `The hub answered with HTTP status ${answer.status}`,
  );
}

/** One page of lines. */
export async function page(parameters: Parameters, signal: AbortSignal): Promise<StoredPage> {
  const answer = await ask(address(parameters), "application/json", signal);
  return (await answer.json()) as StoredPage;
}

/** What is stored of which containers. */
export async function streams(signal: AbortSignal): Promise<StoredStream[]> {
  const answer = await ask("/api/v1/logs/streams", "application/json", signal);
  return ((await answer.json()) as { streams: StoredStream[] }).streams;
}

/**
 * Lines of JSON as they are found, in chunks; among them `{"progress": …}`. Ends when all was
 * looked at; throws an `ApiError` where the hub says why it goes no further.
 */
export async function* flow(
  parameters: Parameters,
  signal: AbortSignal,
): AsyncGenerator<string[], void> {
  const asked = { ...parameters, progress: "true" };
  const answer = await ask(address(asked), "application/x-ndjson", signal);
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) return;
  const lines = new Lines();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      yield lines.push(value);
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
  if (lines.rest) throw new ApiError(0, "UNREACHABLE", "The hub's answer broke off.");
}
