// A simulated fleet on the real hub: what is watched, what is not, and what outlives whom.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { Process } from "./fixtures/process.js";
import { Simulation } from "./fixtures/simulation.js";

const DEVICES = 50;
const CONTAINERS = 4;

let hub, viewer, simulation;

before(async () => {
  hub = await Hub.start();
  viewer = await hub.client(await hub.token());
  simulation = await Simulation.start(hub, { devices: DEVICES, containers: CONTAINERS });
});

after(async () => {
  viewer?.disconnect();
  await simulation?.stop();
  await hub?.stop();
});

async function until(what, ask, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `${what}\n${simulation.process.output}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The simulated devices, as somebody sees them who looks once. */
async function devices(socket = viewer) {
  const { data } = await subscribe(socket, { type: "dashboard" });
  await socket.emitWithAck("unsubscribe", { type: "dashboard" });
  return data.devices.filter((device) => device.tags.length === 3);
}

async function metric(line) {
  const text = await hub.metrics();
  const found = text.split("\n").find((each) => each.startsWith(`${line} `));
  return Number(found?.split(" ")[1]);
}

const reports = (kind) => metric(`kobel_agent_reports_received_total{kind="${kind}"}`);

/** Those of a host that does not answer are not known. */
async function manyContainers() {
  const count = await metric("kobel_containers");
  return count >= 45 * CONTAINERS && count <= DEVICES * CONTAINERS;
}

/** A device that answers, and how often it is sampled meanwhile. */
async function steady() {
  return (await devices()).find((device) => device.state === "online" && device.sample);
}

test("a fleet is there within seconds, with plausible values", async () => {
  const all = await until("no fleet", async () => {
    const all = await devices();
    return all.filter((device) => device.sample).length > 45 && all;
  });
  assert.equal(all.length, DEVICES);
  assert.equal(new Set(all.map((device) => device.name)).size, DEVICES);
  for (const { name, tags, sample } of all) {
    assert.match(name, /^[a-z]+-\d\d$/);
    assert.ok(tags.includes(name.split("-")[0]), `${name}: ${tags}`);
    if (!sample) continue;
    assert.ok(sample.cpu > 0 && sample.cpu <= 100);
    assert.ok(sample.memory > 1 && sample.memory < 100);
    assert.ok(sample.memoryUsed < sample.memoryTotal && sample.memoryTotal >= 2 ** 31);
    assert.ok(sample.networkIn > 0 && sample.networkIn < 1.25e9);
    assert.ok(Math.abs(Date.now() - Date.parse(sample.sampledAt)) < 40_000);
    // The link's short floats do not make long numbers of it.
    assert.ok(String(sample.cpu).length <= 6, String(sample.cpu));
  }
  const { data } = await subscribe(viewer, { type: "device", id: all[0].deviceUuid });
  await viewer.emitWithAck("unsubscribe", { type: "device", id: all[0].deviceUuid });
  assert.equal(data.containers.length, CONTAINERS);
  assert.equal(data.device.source, "simulated");
  await until("no containers", manyContainers);
  assert.equal(await metric("kobel_agent_devices"), DEVICES);
});

test("nobody watches: half a minute's summaries and nothing else", async () => {
  await until(
    "somebody watches",
    async () => (await metric("kobel_devices_watched")) === 0,
    15_000,
  );
  const before = { samples: await reports("sample"), summaries: await reports("summary") };
  await new Promise((resolve) => setTimeout(resolve, 6_000));
  const samples = (await reports("sample")) - before.samples;
  const summaries = (await reports("summary")) - before.summaries;
  // 50 in 30 s are 10 in 6 s; at one a second they would be 300.
  assert.ok(summaries >= 3 && summaries <= 20, `${summaries} summaries`);
  assert.ok(samples <= summaries + 5, `${samples} samples`);
  assert.ok((await metric('kobel_samples_saved_total{by="demand"}')) > summaries);
});

test("one is watched: each second within 1.5 s, and no longer 10 s after", async () => {
  const { deviceUuid } = await steady();
  await until("still watched", async () => (await metric("kobel_devices_watched")) === 0, 15_000);
  const begun = Date.now();
  await subscribe(viewer, { type: "device", id: deviceUuid });
  const stats = () => next(viewer, "stats", (event) => event.data.deviceUuid === deviceUuid);
  const first = await stats();
  assert.ok(Date.now() - begun < 1_500, `the first after ${Date.now() - begun} ms`);
  const times = [Date.parse(first.data.sampledAt)];
  for (let n = 0; n < 4; n++) times.push(Date.parse((await stats()).data.sampledAt));
  const gaps = times.slice(2).map((at, n) => at - times[n + 1]);
  assert.ok(
    gaps.every((gap) => gap > 800 && gap < 1_300),
    String(gaps),
  );
  assert.equal(await metric("kobel_devices_watched"), 1);
  await viewer.emitWithAck("unsubscribe", { type: "device", id: deviceUuid });
  await until("watched on", async () => (await metric("kobel_devices_watched")) === 0);
  const before = await reports("sample");
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  // The others' come at 1.7 a second.
  assert.ok((await reports("sample")) - before <= 10);
});

test("killed: unreachable, with the reason; started again: the same devices", async () => {
  const before = await devices();
  await simulation.process.stop("SIGKILL");
  const gone = await until("not unreachable", async () => {
    const all = await devices();
    return all.every((device) => device.state === "unreachable") && all;
  });
  const { data } = await subscribe(viewer, { type: "device", id: gone[0].deviceUuid });
  await viewer.emitWithAck("unsubscribe", { type: "device", id: gone[0].deviceUuid });
  assert.match(data.device.stateReason, /agent|host does not answer/);
  assert.equal(await metric("kobel_agent_links"), 0);

  simulation = await Simulation.start(hub, { devices: DEVICES, containers: CONTAINERS });
  const back = await until("not back", async () => {
    const all = await devices();
    return all.filter((device) => device.state === "online").length > 45 && all;
  });
  const key = (all) => all.map(({ deviceUuid, name }) => `${deviceUuid} ${name}`).sort();
  assert.deepEqual(key(back), key(before));
});

test("the hub restarts: the fleet comes back by itself, as the same", async () => {
  const before = (await devices()).map((device) => device.deviceUuid).sort();
  viewer.disconnect();
  await hub.process.stop();
  await hub.up();
  viewer = await hub.client(await hub.token());
  const back = await until("not back", async () => {
    const all = await devices();
    return all.filter((device) => device.sample).length > 45 && all;
  });
  assert.deepEqual(back.map((device) => device.deviceUuid).sort(), before);
  await until("no containers", manyContainers);
});

test("a container's log: each line once, also over a killed simulation", async () => {
  const { deviceUuid } = await steady();
  const { data } = await subscribe(viewer, { type: "device", id: deviceUuid });
  await viewer.emitWithAck("unsubscribe", { type: "device", id: deviceUuid });
  const { containerId } = data.containers.find((container) => container.state === "running");
  const lines = [];
  const gaps = [];
  viewer.on("logGap", (gap) => gaps.push(gap));
  viewer.on("logHistory", (history) => lines.push(...history.logs));
  viewer.on("logBatch", (batch) => lines.push(...batch.logs));
  const options = { logs: { tail: 100 } };
  await subscribe(viewer, { type: "container", id: containerId, options });
  // The frames of a stack trace have no number of their own.
  const numbers = () =>
    lines
      .filter((line) => !line.marker && !/^\s*at com\./.test(line.message))
      .map((line) => Number(line.fields?.n ?? /n=(\d+)/.exec(line.message)?.[1]));
  const more = (count) => until("no lines", () => numbers().length >= count, 30_000);
  await more(20);
  await simulation.process.stop("SIGKILL");
  simulation = await Simulation.start(hub, { devices: DEVICES, containers: CONTAINERS });
  await more(numbers().length + 15);
  await viewer.emitWithAck("unsubscribe", { type: "container", id: containerId });
  const all = numbers();
  assert.deepEqual(
    all,
    all.map((_, at) => all[0] + at),
  );
  assert.deepEqual(gaps, []);
  const seqs = lines.map((line) => line.seq);
  assert.ok(
    seqs.every((seq, at) => at === 0 || seq === seqs[at - 1] + 1),
    String(seqs),
  );
});

test("it ends cleanly, and its own token with it", async () => {
  assert.equal(await simulation.stop(), 0, simulation.process.output);
  const tokens = (await hub.cli("token", "list")).split("\n").filter((l) => /simulate-/.test(l));
  // Those that were killed could not revoke their own; these end by themselves.
  assert.equal(tokens.length, 3);
  assert.match(tokens[0], / agent .* valid /);
  assert.match(tokens[1], / agent .* valid /);
  assert.match(tokens[2], / agent .* revoked /);
});

test("a wrong token, a viewer's, and no hub's data: a clear error", async () => {
  const simulate = async (args, env = hub.env) => {
    const process = new Process("simulate", hub.binary, ["simulate", ...args], { env });
    await process.ended;
    return { code: process.child.exitCode, output: process.output };
  };
  const wrong = await simulate(["--hub", hub.url, "--token", "kobel_9_wrong"]);
  assert.equal(wrong.code, 77, "sysexits(3): EX_NOPERM");
  assert.match(wrong.output, /does not take the token: the token is wrong/);
  const viewers = await simulate(["--hub", hub.url, "--token", await hub.token()]);
  assert.equal(viewers.code, 77);
  assert.match(viewers.output, /role viewer.*--role agent/);
  const env = { ...hub.env, KOBEL_DATA: `${hub.dir}/nothing` };
  const nothing = await simulate(["--hub", hub.url], env);
  assert.equal(nothing.code, 1);
  assert.match(nothing.output, /name a hub by --hub and a token/);
  const notHub = await simulate(["--hub", "kobel.example.com"]);
  assert.equal(notHub.code, 2);
  assert.match(notHub.output, /is no hub's address/);
});

test("for a while only", async () => {
  const begun = Date.now();
  const process = new Process(
    "simulate",
    hub.binary,
    ["simulate", "--devices", "3", "--hub", hub.url, "--duration", "2s"],
    { env: hub.env },
  );
  await process.ended;
  assert.equal(process.child.exitCode, 0, process.output);
  const seconds = (Date.now() - begun) / 1_000;
  assert.ok(seconds >= 2 && seconds < 5, `${seconds} s`);
});

test("either side that hangs is noticed, and nothing piles up", async () => {
  simulation = await Simulation.start(hub, { devices: 200, containers: 2 });
  await until("no fleet", async () => (await metric("kobel_agent_devices")) === 200);
  const memory = () => readFile(`/proc/${simulation.process.child.pid}/status`, "utf8");
  const resident = async () => Number((await memory()).match(/VmRSS:\s+(\d+)/)[1]);
  await subscribe(viewer, { type: "dashboard", options: { rate: 1 } });
  await until("nobody is watched", async () => (await metric("kobel_devices_watched")) >= 200);
  await new Promise((resolve) => setTimeout(resolve, 2_000));

  // The hub hangs: its agents keep the newest, whatever they are asked for.
  const before = await resident();
  const sampled = await reports("sample");
  hub.process.signal("SIGSTOP");
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  const grown = (await resident()) - before;
  hub.process.signal("SIGCONT");
  assert.ok(grown < 4_096, `${grown} KB more`);
  await until("no samples", async () => (await reports("sample")) > sampled + 200);
  assert.equal(await metric("kobel_agent_devices"), 200);

  // The agent hangs: its devices are unreachable once nothing was heard for 45 s.
  simulation.process.signal("SIGSTOP");
  const begun = Date.now();
  const all = await until(
    "not noticed",
    async () => {
      const all = await devices();
      return all.filter((device) => device.state === "unreachable").length >= 200 && all;
    },
    60_000,
  );
  assert.ok(Date.now() - begun > 30_000);
  const { data } = await subscribe(viewer, { type: "device", id: all[0].deviceUuid });
  assert.match(data.device.stateReason, /nothing was heard for 45 s|does not answer/);
  simulation.process.signal("SIGCONT");
  await until("not back", async () => {
    const all = await devices();
    return all.filter((device) => device.state === "online").length > 190;
  });
});
