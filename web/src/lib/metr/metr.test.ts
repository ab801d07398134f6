import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeV1, MetrError, Reader, STATES, type Columns } from "./index";

/** What both a vector and a document's short reader say of a device; absent is missing or null. */
type Fields = Record<string, number | string | null | undefined>;

interface CaseV1 {
  name: string;
  now: number;
  hex: string;
  error?: string;
  timestamp?: number;
  records?: Fields[];
}

interface FrameV2 {
  hex: string;
  error?: string;
  timestamp?: number;
  isKey?: boolean;
  records?: Fields[];
}

// Written by the Rust tests: see crates/kobel-wire/tests/metr_vectors.rs.
const repository = new URL("../../../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, repository), "utf8");
const vectors = <T>(name: string): T[] =>
  JSON.parse(read(`crates/kobel-wire/tests/vectors/${name}`)) as T[];
const v1 = vectors<CaseV1>("metr-v1.json");
const v2 = vectors<{ name: string; frames: FrameV2[] }>("metr-v2.json");

/** In the midst of a buffer that is not its own, as an attachment may be. */
function bytes(hex: string): Uint8Array {
  const own = Buffer.from(hex, "hex");
  const shared = new Uint8Array(own.length + 7);
  shared.fill(0xff);
  shared.set(own, 3);
  return shared.subarray(3, 3 + own.length);
}

const VALUES = ["cpu", "memory", "disk", "temperature", "networkIn", "networkOut"] as const;

function at(columns: Columns, place: number): Fields {
  const fields: Fields = {
    id: columns.id[place]!,
    state: STATES[columns.state[place]!]!,
    sampledAt: columns.sampledAt[place]!,
  };
  for (const name of VALUES) {
    if (!Number.isNaN(columns[name][place])) fields[name] = columns[name][place]!;
  }
  return fields;
}

/** The columns are single floats, but for what needs more. */
function expectSame(fields: Fields, expected: Fields): void {
  const present = Object.entries(fields).filter(([, value]) => value != null);
  expect(Object.fromEntries(present)).toEqual(
    Object.fromEntries(
      Object.entries(expected).map(([name, value]) => [
        name,
        typeof value === "number" && name !== "id" && name !== "sampledAt"
          ? expect.closeTo(value, value < 1e6 ? 4 : 0)
          : value,
      ]),
    ),
  );
}

function codeOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (!(error instanceof MetrError)) throw error;
    return error.code;
  }
}

describe("version 1", () => {
  test.each(v1)("$name", ({ now, hex, error, timestamp, records }) => {
    if (error !== undefined) {
      expect(codeOf(() => decodeV1(bytes(hex), now))).toBe(error);
      return;
    }
    const frame = decodeV1(bytes(hex), now);
    expect([frame.timestamp, frame.size]).toEqual([timestamp, records!.length]);
    records!.forEach((record, place) => {
      // The format does not say these two.
      expectSame(at(frame.columns, place), { ...record, state: "online", sampledAt: timestamp });
    });
  });

  test("an id that is not a number here is an error", () => {
    const frame = bytes(v1[0]!.hex);
    frame.fill(0xff, 12, 20);
    expect(codeOf(() => decodeV1(frame, 0))).toBe("OutOfRange");
  });
});

describe("version 2", () => {
  test.each(v2)("$name", ({ frames }) => {
    const reader = new Reader();
    for (const { hex, error, timestamp, isKey, records } of frames) {
      const { columns } = reader;
      const before = structuredClone(columns);
      if (error !== undefined) {
        expect(codeOf(() => reader.apply(bytes(hex)))).toBe(error);
        expect(reader.columns).toBe(columns);
        expect(columns).toEqual(before);
        continue;
      }
      const frame = reader.apply(bytes(hex));
      expect([frame.timestamp, frame.isKey]).toEqual([timestamp, isKey]);
      expect(frame.changed.length).toBe(records!.length);
      if (isKey) expect(reader.size).toBe(records!.length);
      records!.forEach((record, n) => {
        expectSame(at(reader.columns, frame.changed[n]!), record);
      });
      // The others are as they were.
      for (let place = 0; !isKey && place < reader.size; place++) {
        if (!frame.changed.includes(place)) {
          expect(at(reader.columns, place)).toEqual(at(before, place));
        }
      }
    }
  });

  const worked = v2.find(({ name }) => name === "worked")!.frames.map(({ hex }) => bytes(hex));
  const fleet = v2.find(({ name }) => name === "a fleet")!.frames.map(({ hex }) => bytes(hex));

  test("the columns are another object only when devices come or leave", () => {
    const reader = new Reader();
    const memberships = worked.map((frame) => {
      const { columns } = reader;
      const { membership } = reader.apply(frame);
      return [membership, reader.columns === columns, reader.size];
    });
    expect(memberships).toEqual([
      [1, false, 2],
      [1, true, 2],
      [1, true, 2],
      [1, true, 2],
      [2, false, 1],
    ]);
    // The same devices in another key frame.
    const { columns } = reader;
    expect(reader.apply(worked[4]!).membership).toBe(2);
    expect(reader.columns).toBe(columns);
  });

  test("a reader that was reset waits for a key frame", () => {
    const reader = new Reader();
    reader.apply(worked[0]!);
    reader.reset();
    expect(reader.size).toBe(0);
    expect(codeOf(() => reader.apply(worked[1]!))).toBe("NeedsKeyFrame");
    expect(reader.apply(worked[0]!).membership).toBe(3);
  });

  test("more devices than allowed are refused", () => {
    expect(codeOf(() => new Reader(1).apply(worked[0]!))).toBe("TooManyRecords");
    expect(codeOf(() => new Reader(2).apply(worked[0]!))).toBeUndefined();
  });

  test("every cut is an error", () => {
    const reader = new Reader();
    reader.apply(fleet[0]!);
    for (const frame of fleet.slice(0, 2)) {
      for (let cut = 0; cut < frame.length; cut++) {
        expect(["TooShort", "LengthMismatch", "Truncated"]).toContain(
          codeOf(() => reader.apply(frame.subarray(0, cut))),
        );
      }
    }
    expect(reader.apply(fleet[1]!).changed.length).toBe(40);
  });

  test("wrong bits are a frame or an error, and harm nothing", () => {
    const reader = new Reader();
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    for (let round = 0; round < 20_000; round++) {
      reader.apply(fleet[0]!);
      const bad = fleet[random(2)]!.slice();
      for (let flips = random(4); flips >= 0; flips--) {
        bad[random(bad.length)]! ^= 1 << random(8);
      }
      codeOf(() => reader.apply(bad));
    }
    reader.apply(fleet[0]!);
    expect(reader.apply(fleet[1]!).changed.length).toBe(40);
  });
});

describe("the short readers of docs/metr.md", () => {
  const blocks = [...read("docs/metr.md").matchAll(/```js\n([^]*?)```/g)].map(([, code]) => code);
  type Short = (bytes: Uint8Array) => Fields[];
  const { readV1, readKey } = new Function(
    `${blocks.join("\n")}; return { readV1, readKey };`,
  )() as Record<"readV1" | "readKey", Short>;

  const expectAll = (records: Fields[], expected: Fields[]): void => {
    expect(records.length).toBe(expected.length);
    records.forEach((record, n) => expectSame(record, expected[n]!));
  };

  test("read version 1", () => {
    for (const { hex, records } of v1) {
      if (records !== undefined) expectAll(readV1(bytes(hex)), records);
      else expect(() => readV1(bytes(hex))).toThrow();
    }
  });

  test("read key frames of version 2", () => {
    for (const { hex, isKey, records } of v2.flatMap(({ frames }) => frames)) {
      if (isKey) expectAll(readKey(bytes(hex)), records!);
    }
  });
});
