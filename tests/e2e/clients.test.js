// Stock clients of each kind against the real hub.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Docker } from "./fixtures/docker.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { Process, run } from "./fixtures/process.js";

let docker, hub, token;

before(async () => {
  docker = await Docker.start();
  await docker.start(
    "web",
    "--label",
    "com.docker.compose.project=shop",
    "--label",
    "com.docker.compose.service=web",
  );
  hub = await Hub.start({ docker });
  token = await hub.token("clients");
});

after(async () => {
  await hub?.stop();
  await docker?.stop();
});

const TRANSPORTS = {
  "polling only": { transports: ["polling"] },
  "WebSocket only": { transports: ["websocket"] },
  upgrade: { transports: ["polling", "websocket"] },
};

for (const [name, options] of Object.entries(TRANSPORTS)) {
  test(`socket.io-client, ${name}: the whole contract`, async () => {
    const socket = hub.socket(token, options);
    const upgraded =
      name === "upgrade" &&
      new Promise((resolve) => socket.io.engine.once("upgrade", (t) => resolve(t.name)));
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("connect_error", reject);
    });
    if (upgraded) assert.equal(await upgraded, "websocket");

    const uuid = await hub.deviceUuid(socket);
    const initial = await subscribe(socket, { type: "device", id: uuid });
    assert.equal(initial.id, uuid);
    assert.equal(initial.answer.room, `device:${uuid}`);
    assert.equal(initial.answer.epoch, initial.epoch);
    assert.equal(initial.answer.seq, initial.seq);
    const web = initial.data.containers.find((c) => c.name === "web");
    assert.equal(web.state, "running");
    assert.equal(web.project, "shop");
    assert.equal(web.service, "web");

    // Every event of the room from here on, in one line without a hole.
    const heard = [];
    for (const event of ["stats", "containerUpdate", "deviceUpdate"]) {
      socket.on(event, (envelope) => heard.push([event, envelope]));
    }
    const first = await next(socket, "stats");
    const second = await next(socket, "stats");
    for (const { room, event, data, timestamp, epoch } of [first, second]) {
      assert.equal(room, `device:${uuid}`);
      assert.equal(event, "stats");
      assert.equal(epoch, initial.epoch);
      assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.equal(data.deviceUuid, uuid);
      assert.ok(data.cpu >= 0 && data.cpu <= 100, `cpu ${data.cpu}`);
      assert.ok(data.memory > 0 && data.memory <= 100);
      assert.ok(data.memoryUsed < data.memoryTotal);
      assert.ok(data.disk > 0 && data.disk <= 100);
      assert.equal(data.load.length, 3);
      assert.ok(data.uptime > 0);
      assert.ok(data.mounts.some((m) => m.path === "/" && m.used > 0 && m.total >= m.used));
    }
    const apart = Date.parse(second.data.sampledAt) - Date.parse(first.data.sampledAt);
    assert.ok(apart > 500 && apart < 2500, `samples are ${apart} ms apart`);
    heard.forEach(([event, envelope], i) => {
      assert.equal(envelope.event, event);
      assert.equal(envelope.seq, initial.seq + 1 + i);
    });

    const container = await subscribe(socket, { type: "container", id: web.containerId });
    assert.equal(container.data.container.name, "web");
    assert.equal(container.data.device.deviceUuid, uuid);

    assert.deepEqual(await socket.timeout(5000).emitWithAck("activity", { visible: true }), {
      ok: true,
    });
    const left = await socket
      .timeout(5000)
      .emitWithAck("unsubscribe", { type: "device", id: uuid });
    assert.deepEqual(left, { ok: true });
    heard.length = 0;
    await next(socket, "statusChange", ({ data }) => data.cpu !== undefined);
    assert.deepEqual(heard, []);
    socket.disconnect();
  });
}

test("batches: the dashboard, and a device with the option batch", async () => {
  const socket = await hub.client(token);
  const dashboard = await subscribe(socket, { type: "dashboard" });
  const [device] = dashboard.data.devices;
  assert.deepEqual(dashboard.data.totals.devices, 1);
  const batch = await next(socket, "batchUpdate");
  assert.equal(batch.room, "dashboard:main");
  assert.equal(batch.count, batch.updates.length);
  assert.equal(typeof batch.timestamp, "number");
  assert.equal(batch.updates[0].id, device.id);
  await subscribe(socket, { type: "device", id: device.deviceUuid, options: { batch: true } });
  socket.on("stats", () => assert.fail("a single event in a batch subscription"));
  const updates = await next(socket, "batchUpdate", (b) => b.room.startsWith("device:"));
  assert.ok(updates.updates.some((u) => u.event === "stats" || u.event === "containerUpdate"));
  socket.disconnect();
});

test("history: charts are full at once", async () => {
  const socket = await hub.client(token);
  const uuid = await hub.deviceUuid(socket);
  const { data } = await subscribe(socket, { type: "device", id: uuid });
  const { t, cpu, memory } = data.recent;
  assert.ok(t.length >= 3, `${t.length} points`);
  assert.equal(cpu.length, t.length);
  assert.equal(memory.length, t.length);
  assert.ok(t.every((at, i) => i === 0 || at > t[i - 1]));
  socket.disconnect();
});

test("back after a lost connection: what was missed, and nothing twice", async () => {
  const first = await hub.client(token);
  const uuid = await hub.deviceUuid(first);
  const { epoch, seq } = await subscribe(first, { type: "device", id: uuid });
  first.disconnect();
  const id = await docker.start("meanwhile");
  await docker.run("pause", "meanwhile");
  const socket = await hub.client(token, { transports: ["polling"] });
  const heard = [];
  for (const event of ["initialData", "stats", "containerUpdate"]) {
    socket.on(event, (data) => heard.push([event, data]));
  }
  const paused = next(
    socket,
    "containerUpdate",
    ({ data }) => data.containerId === id && data.state === "paused",
  );
  const options = { since: { epoch, seq } };
  const answer = await socket.emitWithAck("subscribe", { type: "device", id: uuid, options });
  assert.equal(answer.resumed, true);
  await paused;
  await next(socket, "stats");
  assert.ok(!heard.some(([event]) => event === "initialData"));
  const seqs = heard.map(([, envelope]) => envelope.seq);
  assert.ok(seqs[0] > seq);
  assert.deepEqual(
    seqs,
    [...new Set(seqs)].sort((a, b) => a - b),
    "not in order, or twice",
  );
  const states = heard.filter(([, e]) => e.data.containerId === id).map(([, e]) => e.data.state);
  assert.ok(states.includes("running"), "a change in between was left out");
  await docker.run("rm", "-f", "meanwhile");
  socket.disconnect();
});

test("the README's JavaScript example works as it stands", async () => {
  const watch = new Process("watch.mjs", process.execPath, [example("watch.mjs"), hub.url], {
    env: { ...process.env, KOBEL_TOKEN: token },
  });
  await watch.until("printing samples", () => /cpu +\d/.test(watch.output));
  await watch.stop();
});

test("the README's Python example works as it stands", async () => {
  const python = process.env.KOBEL_PYTHON ?? "python3";
  const watch = new Process("watch.py", python, ["-u", example("watch.py"), hub.url], {
    env: { ...process.env, KOBEL_TOKEN: token },
  });
  await watch.until("printing samples", () => /cpu +\d/.test(watch.output), 30_000);
  await watch.stop();
});

test("python-socketio: polling, WebSocket and upgrade", async () => {
  const python = process.env.KOBEL_PYTHON ?? "python3";
  const script = new URL("./contract.py", import.meta.url).pathname;
  for (const transports of ["polling", "websocket", "polling,websocket"]) {
    const out = await run(python, [script, hub.url, token, transports]);
    assert.match(out, /^ok /m, out);
  }
});

function example(name) {
  return new URL(`../../examples/${name}`, import.meta.url).pathname;
}
