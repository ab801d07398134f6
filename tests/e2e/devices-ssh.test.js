// Hosts over SSH: from one line on the command line to a stock client's `stats`.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request, sendJson } from "./fixtures/http.js";
import { Link } from "./fixtures/link.js";
import { Sshd } from "./fixtures/sshd.js";

let hub;
let sshd;
let admin;
let socket;

before(async () => {
  sshd = await Sshd.start();
  hub = await Hub.start();
  admin = await hub.token("admin", "--role", "admin");
  socket = await hub.client(admin);
  await subscribe(socket, { type: "fleet" });
  await sshd.authorize(await hub.cli("device", "key"));
});

after(async () => {
  socket?.disconnect();
  await hub?.stop();
  await sshd?.stop();
});

const headers = () => ({ Authorization: `Bearer ${admin}` });
const call = async (method, path, body) =>
  (await sendJson(hub, method, `/api/v1/devices${path}`, body, headers())).json;
const list = async (query) =>
  (await request(hub, `/api/v1/devices?${query}`, { headers: headers() })).json.devices;
const state = (uuid, wanted, ms) =>
  next(
    socket,
    "deviceEntry",
    ({ data }) => data.deviceUuid === uuid && data.state === wanted,
    ms ?? 20_000,
  );

let uuid;

test("one line, and a stock client sees the host's stats each second", async () => {
  const online = next(socket, "deviceEntry", ({ data }) => data.state === "online");
  await hub.cli("device", "add", sshd.address, "--name", "real", "--accept-new", "--hub-key");
  await online;
  const [{ deviceUuid }] = await list("q=real");
  uuid = deviceUuid;
  const { data } = await subscribe(socket, { type: "device", id: uuid });
  assert.equal(data.device.source, "ssh");
  const seen = [];
  while (seen.length < 3) seen.push((await next(socket, "stats")).data);
  const [first, , last] = seen;
  assert.equal(first.deviceUuid, uuid);
  assert.ok(last.memoryTotal > 1e8 && last.memory > 0 && last.memory < 100);
  assert.ok(last.cpu >= 0 && last.cpu <= 100);
  const apart = (Date.parse(last.sampledAt) - Date.parse(first.sampledAt)) / 2;
  assert.ok(apart > 700 && apart < 1_400, `${apart} ms apart`);
  const [shown] = await list("q=real");
  assert.equal(shown.state, "online");
  assert.equal(shown.ssh.hostKeys[0].fingerprint, sshd.fingerprint);
});

test("what people call it changes nothing of how it is read; how it is read changes at once", async () => {
  const begun = sshd.process.output.match(/Accepted publickey/g).length;
  await call("PATCH", `/${uuid}`, { name: "renamed", notes: "x" });
  await next(socket, "stats");
  await next(socket, "stats");
  assert.equal(sshd.process.output.match(/Accepted publickey/g).length, begun);
  await call("PATCH", `/${uuid}`, { options: { period: 5 } });
  await next(socket, "stats");
  assert.equal(sshd.process.output.match(/Accepted publickey/g).length, begun + 1);
  await call("PATCH", `/${uuid}`, { options: { period: null } });
});

test("disabled it is gone and not dialled; enabled it is back", async () => {
  const gone = next(socket, "deviceRemoved", ({ data }) => data.deviceUuid === uuid);
  await call("PATCH", `/${uuid}`, { enabled: false });
  await gone;
  await sshd.process.until("an end", () =>
    /Connection closed|disconnect/i.test(sshd.process.output),
  );
  const back = state(uuid, "online");
  await call("PATCH", `/${uuid}`, { enabled: true });
  await back;
});

test("a first key that is taken is pinned by the hub, and does not restart the reading", async () => {
  const made = await call("POST", "", {
    address: sshd.address.replace("127.0.0.1", "localhost"),
    name: "tofu",
    ssh: { hostKeyPolicy: "accept-new" },
  });
  await state(made.deviceUuid, "online");
  const begun = sshd.process.output.match(/Accepted publickey/g).length;
  let shown;
  for (let n = 0; n < 50 && !shown?.ssh.hostKeys; n++) {
    [shown] = await list("q=tofu");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(shown.ssh.hostKeys[0].fingerprint, sshd.fingerprint);
  assert.equal(shown.ssh.hostKeys[0].host, `localhost:${sshd.port}`);
  await subscribe(socket, { type: "device", id: made.deviceUuid });
  await next(socket, "stats", ({ data }) => data.deviceUuid === made.deviceUuid);
  assert.equal(sshd.process.output.match(/Accepted publickey/g).length, begun, "one connection");
  const audit = await request(hub, "/api/v1/audit?limit=1", { headers: headers() });
  const [entry] = audit.json.entries;
  assert.deepEqual([entry.action, entry.actor.kind], ["device.host-key", "hub"]);
});

test("a changed host key stops the device, and goes on when somebody accepts it", async () => {
  const stopped = state(uuid, "host-key-changed", 30_000);
  await sshd.kill();
  await sshd.newHostKey();
  await sshd.up();
  await stopped;
  const [shown] = await list("q=renamed");
  assert.ok(shown.stateReason.includes(sshd.fingerprint), shown.stateReason);
  const back = state(uuid, "online");
  const path = `/${uuid}/host-key`;
  await call("POST", path, { fingerprint: sshd.fingerprint, replace: true });
  await back;
});

test("after a refused sign-in nothing is tried until somebody tests it", async () => {
  await sshd.authorize("");
  const refused = state(uuid, "auth-failed", 30_000);
  await sshd.kill();
  await sshd.up();
  await refused;
  await sshd.authorize(await hub.cli("device", "key"));
  const back = state(uuid, "online");
  await hub.cli("device", "test", "renamed");
  await back;
});

test("a host that hangs is stale within three periods, and back when it goes on", async () => {
  await subscribe(socket, { type: "device", id: uuid });
  const { data } = await next(socket, "stats", ({ data }) => data.deviceUuid === uuid);
  assert.equal(data.state, "online");
  const stale = state(uuid, "stale");
  const before = Date.now();
  await sshd.signal("SIGSTOP");
  const entry = await stale;
  const took = Date.now() - before;
  // The last sample may have come just before or a second before it hung.
  assert.ok(took > 1_000 && took < 4_500, `stale after ${took} ms`);
  assert.equal(entry.data.deviceUuid, uuid);
  const board = await subscribe(socket, { type: "dashboard" });
  assert.equal(board.data.totals.stale, 1);
  const [shown] = await list("state=stale");
  assert.match(shown.stateReason, /No sample since \d{4}-/);
  const back = state(uuid, "online");
  await sshd.signal("SIGCONT");
  await back;
  await next(socket, "stats", ({ data }) => data.deviceUuid === uuid && data.state === "online");
});

test("killed it is unreachable with the reason, and online by itself when it is back", async () => {
  const gone = state(uuid, "unreachable");
  await sshd.kill();
  await gone;
  const [shown] = await list("state=unreachable");
  assert.match(shown.stateReason, /(connects|tries) again/);
  const back = state(uuid, "online", 60_000);
  await sshd.up();
  await back;
});

test("a slow way makes it slow, and one that loses everything stale", async () => {
  const link = await Link.to(sshd.port);
  try {
    const online = next(
      socket,
      "deviceEntry",
      ({ data }) => data.name === "far" && data.state === "online",
    );
    const address = `ssh://root@127.0.0.1:${link.port}`;
    await hub.cli("device", "add", address, "--name", "far", "--accept-new", "--hub-key");
    await online;
    const [{ deviceUuid: far }] = await list("q=far");
    await subscribe(socket, { type: "device", id: far });
    link.late = 700;
    await state(far, "slow");
    const [shown] = await list("state=slow");
    assert.match(shown.stateReason, /answers take \d\.\d s/);
    link.late = 0;
    await state(far, "online");
    link.dead = true;
    await state(far, "stale");
    // The others are as they were.
    const [near] = (await list("state=online")).filter((d) => d.deviceUuid === uuid);
    assert.equal(near?.state, "online");
    await hub.cli("device", "rm", "far");
  } finally {
    link.stop();
  }
});

test("deleted it is not read any more", async () => {
  const gone = next(socket, "deviceRemoved", ({ data }) => data.deviceUuid === uuid);
  await hub.cli("device", "rm", "renamed");
  await gone;
});
