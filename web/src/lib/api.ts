/** The hub's HTTP API, as far as the page needs it. */

export interface Account {
  name: string;
  role: "admin" | "viewer";
  hasPassword: boolean;
}

export interface Session {
  account: Account;
  version: string;
  /** Null where the session does not end by itself. */
  expiresAt: string | null;
}

/** A refusal, with the hub's words for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const ANSWER_MS = 15_000;

/** Asks the hub.
 *
 * @throws {ApiError} with the hub's words. */
export async function call(method: string, path: string, body?: unknown): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(ANSWER_MS),
      ...(body === undefined
        ? {}
        : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, "UNREACHABLE", "The hub does not answer. Is it running?");
  }
  if (response.status === 204) return undefined;
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok && answer !== undefined) return answer;
  const error = (answer as { error?: { code?: string; message?: string } } | undefined)?.error;
  throw new ApiError(
    response.status,
    error?.code ?? "UNKNOWN",
    error?.message ?? `The hub answered with HTTP status ${response.status}`,
  );
}

export const api = {
  /** Who is signed in; an `ApiError` of status 401 means nobody. */
  session: () => call("GET", "/session") as Promise<Session>,
  signIn: (name: string, password: string) =>
    call("POST", "/session", { name, password }) as Promise<Session>,
  signInByLink: (token: string) => call("POST", "/session/link", { token }) as Promise<Session>,
  signOut: () => call("DELETE", "/session") as Promise<undefined>,
  setPassword: (current: string | undefined, next: string) =>
    call("PUT", "/account/password", { current, new: next }) as Promise<undefined>,
};
