// An agent whose network is pulled, whose hub is gone, and whose clock is wrong.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { Agent, claims, hello, sample } from "./fixtures/agent.js";
import { Gate } from "./fixtures/gate.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { Process } from "./fixtures/process.js";

let hub, viewer, gate, agent, uuid;

before(async () => {
  hub = await Hub.start({ args: ["--docker", "off"] });
  viewer = await hub.client(await hub.token());
  gate = await Gate.before(hub.port);
  const file = path.join(hub.dir, "token");
  await writeFile(file, await hub.token("far", "--enroll"), { mode: 0o600 });
  const args = ["agent", "--hub", gate.url, "--docker", "off", "--name", "far"];
  agent = new Process("agent", hub.binary, [...args, "--token-file", file], {
    env: { PATH: process.env.PATH, HOME: path.join(hub.dir, "agent") },
  });
  const known = await until("no sample", async () => {
    const far = await device("far");
    return far?.sample && far;
  });
  uuid = known.deviceUuid;
  await watch();
});

after(async () => {
  await agent?.stop();
  viewer?.disconnect();
  await gate?.stop();
  await hub?.stop();
});

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, ask, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `${what}\n${agent?.output}`);
    await sleep(50);
  }
}

async function device(name) {
  const { data } = await subscribe(viewer, { type: "dashboard" });
  await viewer.emitWithAck("unsubscribe", { type: "dashboard" });
  return data.devices.find((device) => device.name === name);
}

const watch = () => subscribe(viewer, { type: "device", id: uuid });
const mine = ({ data }) => data.deviceUuid === uuid;
const links = () => agent.output.match(/connected hub=/g).length;

/** What the hub has of the machine: the state, and half minutes as [from, to, samples]. */
async function known() {
  await viewer.emitWithAck("unsubscribe", { type: "device", id: uuid });
  const { data } = await watch();
  const { t, seconds, samples } = data.summaries ?? { t: [], seconds: [], samples: [] };
  return {
    ...data,
    late: t.map((to, n) => [to - seconds[n] * 1_000, to, samples[n]]),
  };
}

/** Waits until a watched sample comes that was read after now. */
async function live() {
  const from = Date.now();
  const fresh = (event) => mine(event) && Date.parse(event.data.sampledAt) > from - 1_000;
  await next(viewer, "stats", fresh, 45_000);
}

test("a cut network: what was read meanwhile is there, at its time", async () => {
  await live();
  const before = links();
  const from = Date.now();
  gate.shut();
  await next(viewer, "deviceUpdate", (e) => mine(e) && e.data.state === "unreachable");
  await sleep(6_000);
  gate.open();
  const to = Date.now();
  await live();
  assert.equal(links(), before + 1);
  const { late, data, recent } = await known();
  assert.ok(late.length >= 1, JSON.stringify(data));
  const [start, end, samples] = late.at(-1);
  assert.ok(start >= from - 2_000 && start < from + 3_000, `${start - from} ms after the cut`);
  assert.ok(end > to - 3_000 && end <= Date.now(), `${to - end} ms before the end`);
  assert.ok(samples >= 5, `${samples} samples`);
  // The chart's axis goes forwards.
  assert.deepEqual(
    recent.t,
    recent.t.toSorted((a, b) => a - b),
  );
  assert.match(agent.output, /no connection to the hub; trying again/);
});

test("a network that is silent for some seconds costs nothing, not even the link", async () => {
  await live();
  const before = links();
  gate.dead();
  await sleep(8_000);
  gate.open();
  await live();
  assert.equal(links(), before, agent.output);
});

test("a hub that is killed and starts again has what was read meanwhile", async () => {
  viewer.disconnect();
  hub.process.child.kill("SIGKILL");
  await hub.process.ended;
  const from = Date.now();
  await sleep(5_000);
  await hub.up();
  viewer = await hub.client(await hub.token());
  await until("not back", async () => (await device("far"))?.state === "online", 45_000);
  await watch();
  await live();
  const late = await until("no summary", async () => {
    const { late } = await known();
    return late.length > 0 && late;
  });
  const [start, end] = late.at(-1);
  assert.ok(start < from + 4_000 && end > from + 4_000, `${start - from} to ${end - from}`);
});

test("a clock that is wrong by a day shows right times", async () => {
  const by = await Agent.open(hub, await hub.token("odd", "--role", "agent"));
  by.send(hello({ instance: "odd" }));
  await by.heard("welcome");
  by.send(claims("odd-clock"));
  await by.heard("claimed");
  for (const off of [-86_400_000, 86_400_000]) {
    by.send(sample(0, { cpu: off < 0 ? 11 : 12, off }));
    const seen = await until("no sample", async () => {
      const odd = await device("odd-clock");
      return odd?.sample?.cpu === (off < 0 ? 11 : 12) && odd;
    });
    const age = Date.now() - Date.parse(seen.sample.sampledAt);
    assert.ok(Math.abs(age) < 5_000, `${age} ms old`);
    assert.equal(seen.state, "online");
  }
  await by.close();
});
