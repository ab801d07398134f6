/** The steps of a test of a host, from the lines that the hub streams. */

export const STEPS = [
  "resolve",
  "connect",
  "host-key",
  "sign-in",
  "shell",
  "metrics",
  "docker",
] as const;

export type StepName = (typeof STEPS)[number];

export interface Step {
  step: StepName;
  state: "ok" | "warning" | "failed" | "skipped";
  message?: string;
  remedy?: string;
  host?: string;
  fingerprint?: string;
  known?: "pinned" | "unknown" | "changed";
  ms?: number;
}

/** What people call a step. */
export const STEP_LABELS: Record<StepName, string> = {
  resolve: "Name",
  connect: "Connection",
  "host-key": "Host key",
  "sign-in": "Sign-in",
  shell: "Shell",
  metrics: "Metrics",
  docker: "Containers",
};

/** Makes steps of the text as it comes, wherever it is cut. Lines that are none are passed over. */
export class StepReader {
  #rest = "";

  feed(text: string): Step[] {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.flatMap(read);
  }

  end(): Step[] {
    const last = this.#rest;
    this.#rest = "";
    return read(last);
  }
}

function read(line: string): Step[] {
  try {
    const step = JSON.parse(line) as Step;
    return (STEPS as readonly string[]).includes(step.step) ? [step] : [];
  } catch {
    return [];
  }
}

/** The key that somebody must look at before anything else can be tried. */
export function keyInQuestion(steps: readonly Step[]): Step | undefined {
  return steps.find(
    (step) => step.step === "host-key" && step.state === "failed" && step.fingerprint,
  );
}
