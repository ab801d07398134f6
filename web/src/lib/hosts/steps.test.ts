import { describe, expect, it } from "vitest";
import { keyInQuestion, StepReader } from "./steps";

const LINES =
  '{"step":"resolve","state":"ok","message":"a"}\n{"step":"host-key","state":"failed",' +
  '"fingerprint":"SHA256:x","known":"unknown"}\n{"done":true,"ok":false}\nnonsense\n';

describe("steps of a test", () => {
  it("are the same wherever the text is cut", () => {
    for (let cut = 0; cut <= LINES.length; cut++) {
      const reader = new StepReader();
      const steps = [...reader.feed(LINES.slice(0, cut)), ...reader.feed(LINES.slice(cut))];
      expect(steps.map(({ step }) => step)).toEqual(["resolve", "host-key"]);
      expect(reader.end()).toEqual([]);
    }
  });

  it("name the key that somebody must look at", () => {
    const steps = new StepReader().feed(LINES);
    expect(keyInQuestion(steps)?.fingerprint).toBe("SHA256:x");
    expect(keyInQuestion(steps.slice(0, 1))).toBeUndefined();
  });
});
