// Samples in every format, by stock clients: they must agree with JSON to the format's precision.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import protobuf from "protobufjs";
import { Hub } from "./fixtures/hub.js";
import { run } from "./fixtures/process.js";

const file = (name) => new URL(`../../${name}`, import.meta.url).pathname;

let hub, token, folder, metr, Metrics;

before(async () => {
  hub = await Hub.start();
  token = await hub.token("formats");
  folder = await mkdtemp(path.join(tmpdir(), "kobel-metr-"));
  // The page's own reader, as one file.
  const bundle = path.join(folder, "metr.mjs");
  const rolldown = file("web/node_modules/.bin/rolldown");
  await promisify(execFile)(rolldown, [file("web/src/lib/metr/index.ts"), "-o", bundle]);
  metr = await import(bundle);
  const schema = await protobuf.load(file("proto/kobel/v1/metrics.proto"));
  Metrics = schema.lookupType("kobel.v1.Metrics");
});

after(async () => {
  await hub.stop();
  await rm(folder, { recursive: true });
});

/** How far a value may be off, by how it is kept. */
const PRECISION = {
  protobuf: () => (value) => Math.max(0.501, Math.abs(value) * 1e-6),
  v1: (name) =>
    name === "temperature" ? () => 0.051 : name === "networkIn" ? () => 0.51 : () => 0.0051,
  v2: (name) =>
    name === "temperature"
      ? () => 0.051
      : name.startsWith("network")
        ? (value) => Math.max(0.51, value * 0.005)
        : () => 0.0051,
};

function agree(format, read, sample, names) {
  for (const name of names) {
    const [got, expected] = [read[name], sample[name]];
    if (expected === undefined) {
      // Version 1 has no absent rate.
      const absent = format === "v1" && name === "networkIn" ? got === 0 : got === undefined;
      assert.ok(absent, `${format}: ${name} is absent, not ${got}`);
    } else {
      const off = Math.abs(got - expected);
      const may = PRECISION[format](name)(expected);
      assert.ok(off <= may, `${format}: ${name} is ${expected}, not ${got}`);
    }
  }
}

const COMMON = ["cpu", "memory", "disk", "temperature", "networkIn"];

/** One device of columns, as JSON has it. */
function atPlace(columns, place) {
  const named = [...COMMON, "networkOut"].map((name) => [name, columns[name][place]]);
  return Object.fromEntries(named.filter(([, value]) => !Number.isNaN(value)));
}

const READ = {
  protobuf(bytes) {
    const message = Metrics.decode(new Uint8Array(bytes));
    const plain = Metrics.toObject(message, { longs: Number, enums: String });
    return { timestamp: plain.timestampMs, devices: plain.devices };
  },
  v1(bytes) {
    const { timestamp, size, columns } = metr.decodeV1(new Uint8Array(bytes), Date.now());
    const devices = Array.from({ length: size }, (_, i) => ({
      id: columns.id[i],
      ...atPlace(columns, i),
    }));
    return { timestamp, devices };
  },
  v2(bytes, reader) {
    const { timestamp, changed } = reader.apply(new Uint8Array(bytes));
    const { columns } = reader;
    const devices = Array.from(changed, (i) => ({
      id: columns.id[i],
      state: metr.STATES[columns.state[i]],
      sampledAt: columns.sampledAt[i],
      ...atPlace(columns, i),
    }));
    return { timestamp, devices };
  },
};

const OPTIONS = {
  protobuf: { format: "protobuf" },
  v1: { format: "metr" },
  v2: { format: "metr", version: 2 },
};

/** A viewer in one room; `frames` are what it read, by number. */
async function viewer(name, asked) {
  const socket = await hub.client(token);
  const frames = new Map();
  const reader = new metr.Reader();
  socket.on("metrics", (bytes, about) => {
    frames.set(about.seq, { ...READ[name](bytes, reader), about });
  });
  const answer = await socket.emitWithAck("subscribe", asked);
  assert.ok(answer.ok, JSON.stringify(answer));
  return { socket, frames };
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

test("a device's samples are the same in every format", async () => {
  const json = await hub.client(token);
  const stats = new Map();
  json.on("stats", (envelope) => stats.set(envelope.seq, envelope.data));
  const id = await hub.deviceUuid(json);
  await json.emitWithAck("subscribe", { type: "device", id });
  const viewers = {};
  for (const [name, options] of Object.entries(OPTIONS)) {
    viewers[name] = await viewer(name, { type: "device", id, options });
  }
  await wait(4500);
  for (const [name, { socket, frames }] of Object.entries(viewers)) {
    const both = [...frames.keys()].filter((seq) => stats.has(seq));
    assert.ok(both.length >= 3, `${name}: ${frames.size} frames, ${both.length} with their JSON`);
    for (const seq of both) {
      const { devices, timestamp, about } = frames.get(seq);
      const sample = stats.get(seq);
      assert.equal(about.room, `device:${id}`);
      assert.equal(Math.abs(Date.parse(about.timestamp) - timestamp) <= 1, true);
      assert.equal(devices.length, 1);
      assert.equal(devices[0].id, sample.id);
      agree(name, devices[0], sample, name === "v1" ? COMMON : [...COMMON, "networkOut"]);
      if (name === "protobuf") {
        agree(name, devices[0], { ...sample, load1: sample.load[0] }, ["iowait", "load1", "swap"]);
        assert.equal(devices[0].state, "DEVICE_STATE_ONLINE");
      }
      if (name === "v2") {
        assert.equal(devices[0].state, "online");
        assert.ok(Math.abs(devices[0].sampledAt - Date.parse(sample.sampledAt)) <= 100);
      }
    }
    socket.disconnect();
  }
  json.disconnect();
});

test("the fleet's frames are the same in every format, key frames and deltas", async () => {
  const json = await hub.client(token);
  const byTime = new Map();
  json.on("stats", ({ data }) => byTime.set(Date.parse(data.sampledAt), data));
  const id = await hub.deviceUuid(json);
  await json.emitWithAck("subscribe", { type: "device", id });
  const { socket, frames } = await viewer("v2", { type: "fleet", options: OPTIONS.v2 });
  const other = await viewer("protobuf", { type: "fleet", options: OPTIONS.protobuf });
  await wait(5500);
  for (const [name, seen] of [
    ["v2", frames],
    ["protobuf", other.frames],
  ]) {
    let compared = 0;
    for (const { devices, timestamp, about } of seen.values()) {
      assert.equal(about.room, "fleet:main");
      for (const device of devices) {
        const at = device.sampledAt ?? timestamp - (device.ageMs ?? 0);
        const near = [...byTime.keys()].find((time) => Math.abs(time - at) <= 100);
        if (near !== undefined) {
          agree(name, device, byTime.get(near), [...COMMON, "networkOut"]);
          compared++;
        }
      }
    }
    assert.ok(compared >= 3, `${name}: ${compared} of ${seen.size} frames compared`);
  }
  for (const each of [json, socket, other.socket]) each.disconnect();
});

test("python-socketio reads each format, and they agree with JSON", async () => {
  const python = process.env.KOBEL_PYTHON ?? "python3";
  const script = new URL("./formats.py", import.meta.url).pathname;
  await run(python, [
    "-m",
    "grpc_tools.protoc",
    `-I${file("proto")}`,
    `--python_out=${folder}`,
    "kobel/v1/metrics.proto",
  ]);
  const env = { ...process.env, PYTHONPATH: `${folder}:${file("examples")}` };
  const out = await run(python, [script, hub.url, token], { env });
  assert.match(out, /^ok /m, out);
});
