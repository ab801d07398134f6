// Several nodes that act as one: nobody notices a death.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, Viewer, until } from "./fixtures/cluster.js";
import { Docker, IMAGE } from "./fixtures/docker.js";
import { next, subscribe } from "./fixtures/hub.js";

let docker, cluster, token, uuid, container;

/** Counts, one line each 20 ms. */
const COUNTER = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done";

before(async () => {
  docker = await Docker.start();
  const args = ["run", "-d", "--name", "counter", "--network=none", IMAGE, "sh", "-c", COUNTER];
  container = (await docker.run(...args)).trim();
  cluster = await Cluster.start({ nodes: 3, docker });
  token = await cluster.nodes[0].token("viewer");
  const socket = await cluster.nodes[0].client(token);
  uuid = await cluster.nodes[0].deviceUuid(socket);
  socket.disconnect();
});

after(async () => {
  await cluster?.stop();
  await docker?.stop();
});

/** Each node knows the container, and has it for running. */
async function known(nodes = cluster.alive) {
  for (const hub of nodes) {
    await until(`${hub.name} knows the container`, async () => {
      const socket = await hub.client(token).catch(() => null);
      if (!socket) return false;
      const asked = { type: "device", id: uuid };
      const answer = await subscribe(socket, asked).catch(() => null);
      socket.disconnect();
      return answer?.data.containers.some((c) => c.containerId === container);
    });
  }
}

/** Each line once and in order, or a gap that counts it. */
function checked(viewer) {
  const { numbers, gaps } = viewer;
  const missing = [];
  for (let n = 1; n < numbers.length; n += 1) {
    const step = numbers[n] - numbers[n - 1];
    assert.ok(step > 0, `${numbers[n - 1]} and then ${numbers[n]}`);
    if (step > 1) missing.push(step - 1);
  }
  const counted = gaps.reduce((sum, gap) => sum + gap.dropped, 0);
  const lost = missing.reduce((sum, count) => sum + count, 0);
  assert.ok(lost <= counted, `${lost} lines are missing, ${counted} were counted`);
  assert.ok(!viewer.renumbered, "the numbering went on");
  return lost;
}

test("a device has one owner, and every node shows it", async () => {
  await known();
  const settled = (nodes) => nodes.length === 3 && sum(nodes) === 1;
  const sum = (nodes) => nodes.reduce((all, node) => all + node.devices, 0);
  await until("three nodes with one owner", async () => settled((await cluster.list()).nodes));
  for (const hub of cluster.nodes) {
    const socket = await hub.client(token);
    await subscribe(socket, { type: "device", id: uuid });
    const first = await next(socket, "stats");
    const second = await next(socket, "stats");
    const apart = Date.parse(second.data.sampledAt) - Date.parse(first.data.sampledAt);
    assert.ok(apart < 1_500, `${hub.name}: ${apart} ms apart`);
    assert.equal(second.data.state, "online");
    socket.disconnect();
  }
});

test("a change on a host is seen through any node at once", async () => {
  const owner = await cluster.owner();
  const other = cluster.nodes.find((hub) => hub !== owner);
  const socket = await other.client(token);
  await subscribe(socket, { type: "device", id: uuid });
  const id = await docker.start("quick");
  await next(socket, "containerUpdate", ({ data }) => data.containerId === id);
  const stopped = next(
    socket,
    "containerUpdate",
    ({ data }) => data.containerId === id && data.state === "exited",
  );
  await docker.run("kill", id);
  await stopped;
  socket.disconnect();
});

test("a log is followed through any node, each line once", async () => {
  const viewers = cluster.nodes.map((_, n) => new Viewer(cluster.nodes, token, container, n));
  await until("lines", () => viewers.every((viewer) => viewer.numbers.length > 150));
  for (const viewer of viewers) viewer.end();
  for (const viewer of viewers) assert.equal(checked(viewer), 0);
  const epochs = new Set(viewers.map((viewer) => viewer.epoch));
  assert.equal(epochs.size, 1, "one numbering for all");
});

test("a node dies: its devices live on, and viewers go on without a line lost or repeated", async () => {
  const owner = await cluster.owner();
  const viewers = cluster.nodes.map((_, n) => new Viewer(cluster.nodes, token, container, n));
  await until("lines", () => viewers.every((viewer) => viewer.numbers.length > 50));
  const died = Date.now();
  await owner.process.stop("SIGKILL");
  const heir = await cluster.owner();
  const taken = Date.now() - died;
  const last = Math.max(...viewers.flatMap((viewer) => viewer.numbers.slice(-1)));
  await until("lines behind", () => viewers.every((v) => v.numbers.at(-1) > last + 100));
  const went = Date.now() - died;
  for (const viewer of viewers) viewer.end();
  const lost = viewers.map(checked);
  console.log(`takeover ${taken} ms by ${heir.name}, lines ${went} ms; lost ${lost}`);
  assert.deepEqual(lost, [0, 0, 0]);
  await owner.up();
  await known();
});

test("a drain moves devices before the node leaves", async () => {
  const owner = await cluster.owner();
  const viewers = cluster.nodes.map((_, n) => new Viewer(cluster.nodes, token, container, n));
  await until("lines", () => viewers.every((viewer) => viewer.numbers.length > 50));
  const before = Date.now();
  await owner.cli("node", "drain");
  const drained = Date.now() - before;
  assert.equal((await fetch(`${owner.url}/readyz`)).status, 503);
  await until("another owner", async () => (await cluster.owner()).name !== owner.name);
  await owner.process.stop();
  const last = Math.max(...viewers.flatMap((viewer) => viewer.numbers.slice(-1)));
  await until("lines behind", () => viewers.every((v) => v.numbers.at(-1) > last + 50));
  for (const viewer of viewers) viewer.end();
  console.log(`drained in ${drained} ms`);
  assert.deepEqual(viewers.map(checked), [0, 0, 0]);
});
