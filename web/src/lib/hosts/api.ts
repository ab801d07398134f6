/** The inventory, as the hub's HTTP API gives it (docs/devices.md). */
import { ApiError, call } from "../api";
import type { DeviceState } from "../live/types";
import { StepReader, type Step } from "./steps";

export type SignIn = "hub-key" | "key" | "key-file" | "agent" | "password";

export interface HostKey {
  host: string;
  fingerprint: string;
  pinnedAt?: string;
}

export interface Host {
  deviceUuid: string;
  name: string;
  source: "local" | "ssh" | "agent" | "simulated";
  address?: string;
  tags: string[];
  group?: string;
  notes?: string;
  enabled?: boolean;
  options?: { period: number; docker: "auto" | "off" | "cgroup-only" };
  ssh?: { signIn: SignIn[]; jump?: string[]; hostKeys?: HostKey[] };
  state?: DeviceState;
  stateReason?: string;
  stateRemedy?: string;
  stateSince?: string;
  /** Since when its agent has a key of its own. */
  agentKeySince?: string;
  revision: number;
  deletedAt?: string;
}

/** What is sent to make or change one. */
export type Draft = Record<string, unknown>;

export interface Entry {
  id: number;
  at: string;
  actor: { kind: string; name: string };
  action: string;
  deviceUuid?: string;
  deviceName?: string;
  before?: Record<string, unknown>;
  after?: Record<string, unknown>;
}

export const hosts = {
  list: (query: Record<string, string>) =>
    call("GET", `/devices?${new URLSearchParams(query)}`) as Promise<{
      devices: Host[];
      total: number;
    }>,
  get: (uuid: string) => call("GET", `/devices/${uuid}`) as Promise<Host>,
  add: (draft: Draft) => call("POST", "/devices", draft) as Promise<Host>,
  change: (uuid: string, patch: Draft) => call("PATCH", `/devices/${uuid}`, patch) as Promise<Host>,
  remove: (uuid: string) => call("DELETE", `/devices/${uuid}`) as Promise<Host>,
  restore: (uuid: string) => call("POST", `/devices/${uuid}/restore`, {}) as Promise<Host>,
  purge: (uuid: string) => call("POST", `/devices/${uuid}/purge`, {}) as Promise<undefined>,
  revokeKey: (uuid: string) =>
    call("POST", `/devices/${uuid}/revoke-key`, {}) as Promise<undefined>,
  pin: (uuid: string, key: { host?: string; fingerprint: string; replace: boolean }) =>
    call("POST", `/devices/${uuid}/host-key`, key) as Promise<Host>,
  hubKey: () =>
    call("GET", "/devices/hub-key") as Promise<{ publicKey: string; authorizedKeys: string }>,
  audit: (query: Record<string, string>) =>
    call("GET", `/audit?${new URLSearchParams(query)}`) as Promise<{
      entries: Entry[];
      cursor: string | null;
    }>,
};

/** A token by which agents enroll, and the hosts that have come by it. */
export interface Enrollment {
  id: number;
  name: string;
  /** In the answer to its making alone. */
  token?: string;
  uses: number;
  used: number;
  expiresAt: string | null;
  devices: { deviceUuid: string; name: string }[];
}

export const enrollments = {
  make: (wish: { uses: number; tags: string[]; group: string | null }) =>
    call("POST", "/enrollments", wish) as Promise<Enrollment>,
  get: (id: number) => call("GET", `/enrollments/${id}`) as Promise<Enrollment>,
};

/** Tries a host; each step comes as it ends. Ends early when `signal` is aborted. */
export async function tryHost(
  uuid: string | undefined,
  draft: Draft,
  told: (step: Step) => void,
  signal: AbortSignal,
): Promise<void> {
  const path = uuid ? `/devices/${uuid}/test` : "/devices/test";
  const response = await fetch(`/api/v1${path}`, {
    method: "POST",
    credentials: "same-origin",
    headers: { "content-type": "application/json", accept: "application/x-ndjson" },
    body: JSON.stringify(draft),
    signal,
  });
  if (!response.ok || !response.body) {
    const answer = (await response.json().catch(() => undefined)) as
      { error?: { code?: string; message?: string } } | undefined;
    const message =
      answer?.error?.message ?? `The hub answered with HTTP status ${response.status}`;
    throw new ApiError(response.status, answer?.error?.code ?? "UNKNOWN", message);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const steps = new StepReader();
  for (;;) {
    const { value, done } = await reader.read();
    for (const step of done ? steps.end() : steps.feed(value)) told(step);
    if (done) return;
  }
}
