import { describe, expect, test, vi } from "vitest";
import type { LogLine } from "../live/types";
import { LogModel } from "./log.svelte";
import { ScrollSpace } from "./scroll";

const line = (seq: number, message = `line ${seq}`): LogLine => ({
  seq,
  timestamp: new Date(1_000 * seq).toISOString(),
  message,
  stream: "stdout",
});
const lines = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => line(from + i));
const streamId = "d:c";
const history = (epoch: string, logs: LogLine[]) => ({ streamId, epoch, logs, complete: true });
const batch = (logs: LogLine[]) => ({ streamId, logs, timestamp: 0 });

function held(model: LogModel): string[] {
  const { ring } = model;
  return Array.from({ length: ring.length }, (_, i) => ring.message(ring.first + i));
}

/** Asks, and has the hub answer. */
function ask(model: LogModel) {
  const wanted = model.wanted();
  model.answered();
  return wanted;
}

describe("the log", () => {
  test("history, then batches; each line once, and gaps in their place", () => {
    const model = new LogModel(vi.fn());
    expect(ask(model)).toEqual({ tail: 1_000 });
    model.batch(batch(lines(1, 1)));
    expect(held(model)).toEqual([]);
    model.history(history("e", lines(1, 3)));
    model.batch(batch(lines(3, 5)));
    model.gap({ streamId, fromSeq: 6, toSeq: 8, dropped: 3 });
    model.gap({ streamId, fromSeq: 6, toSeq: 8, dropped: 3 });
    model.batch(batch(lines(9, 9)));
    expect(held(model)).toEqual([
      "line 1",
      "line 2",
      "line 3",
      "line 4",
      "line 5",
      expect.stringMatching(/^3 lines dropped here: numbers 6 to 8/),
      "line 9",
    ]);
    expect(model.ring.find("e", 6)).toBe(model.ring.first + 5);
  });

  test("comes back with what is missing, nothing twice", () => {
    const model = new LogModel(vi.fn());
    ask(model);
    model.history(history("e", lines(1, 3)));
    // The first answer is lost with the connection.
    model.wanted();
    model.lost();
    expect(ask(model).since).toEqual({ epoch: "e", seq: 3 });
    model.history(history("e", lines(4, 5)));
    expect(held(model)).toEqual(lines(1, 5).map(({ message }) => message));
  });

  test("a hub that counts anew: goes on after the line that both have, or says that some may be missing", () => {
    const model = new LogModel(vi.fn());
    ask(model);
    model.history(history("e", lines(1, 3)));
    ask(model);
    const anew = [2, 3, 4].map((seq) => ({ ...line(seq), seq: seq - 1 }));
    model.history(history("f", anew));
    expect(held(model)).toEqual(["line 1", "line 2", "line 3", "line 4"]);
    expect(model.ring.find("f", 3)).toBe(model.ring.first + 3);
    model.history(history("g", [{ ...line(9), seq: 1 }]));
    expect(held(model).slice(-2)).toEqual([expect.stringMatching(/may be missing/), "line 9"]);
  });

  test("other filters: what matches takes the place of all, and late answers do not", () => {
    const again = vi.fn();
    const model = new LogModel(again);
    ask(model);
    model.history(history("e", lines(1, 3)));
    model.filter({ text: "2" });
    expect(again).toHaveBeenCalledTimes(1);
    expect(model.wanted()).toEqual({ tail: 1_000, filters: { text: "2" } });
    model.filter({ text: "3" });
    model.wanted();
    model.answered();
    model.history(history("e", [line(2)]));
    expect(held(model).length).toBe(3);
    model.answered();
    model.history(history("e", []));
    expect(held(model)).toEqual([]);
    model.batch(batch([line(30)]));
    expect(held(model)).toEqual(["line 30"]);
  });

  test("filters that are wrong are told, and the ones before go on", () => {
    const again = vi.fn();
    const model = new LogModel(again);
    ask(model);
    model.history(history("e", lines(1, 3)));
    model.filter({ regex: "(" });
    ask(model);
    const message = "options.logs.filters.regex: unclosed group";
    expect(model.refused({ code: "BAD_REQUEST", message })).toBe(true);
    expect(model.wrong).toBe("regex: unclosed group");
    expect(again).toHaveBeenCalledTimes(2);
    expect(ask(model)).toEqual({ tail: 1_000, since: { epoch: "e", seq: 3 } });
    // Nothing of it is the log's fault any more: no asking for ever.
    expect(model.refused({ code: "BAD_REQUEST", message: "options.logs: no" })).toBe(true);
    expect(again).toHaveBeenCalledTimes(2);
    expect([model.state, model.trouble]).toEqual(["unavailable", "options.logs: no"]);
    expect(model.refused({ code: "NOT_FOUND", message: "no such container" })).toBe(false);
  });

  test("a log that cannot be read says why, until lines come", () => {
    const model = new LogModel(vi.fn());
    ask(model);
    model.history(history("e", []));
    model.unavailable({ code: "UNAVAILABLE", message: "the driver keeps none" });
    expect([model.state, model.trouble]).toEqual(["unavailable", "the driver keeps none"]);
    model.batch(batch([line(1)]));
    expect([model.state, model.trouble]).toEqual(["open", undefined]);
  });
});

describe("a list higher than a browser can", () => {
  test("is one to one while it fits", () => {
    const scroll = new ScrollSpace(1_000);
    [scroll.view, scroll.total] = [100, 900];
    scroll.goTo(5_000);
    expect([scroll.top, scroll.real, scroll.space]).toEqual([800, 800, 900]);
    expect(scroll.moved(120)).toBe(false);
    expect(scroll.top).toBe(120);
  });

  test("beyond: small moves are as long as they look, drags go by proportion, both ends are there", () => {
    const scroll = new ScrollSpace(1_000);
    [scroll.view, scroll.total] = [100, 90_100];
    scroll.goTo(45_000);
    expect([scroll.space, scroll.real]).toEqual([1_000, 450]);
    scroll.moved(500);
    expect(scroll.top).toBe(45_050);
    scroll.rest();
    expect(scroll.real).toBeCloseTo(450.5);
    expect(scroll.moved(900)).toBe(false);
    expect(scroll.top).toBe(90_000);
    scroll.goTo(50);
    expect(scroll.moved(0)).toBe(true);
    scroll.rest();
    expect(scroll.top).toBeCloseTo(49.5);
  });
});
