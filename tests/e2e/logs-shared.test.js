// What viewers of a log share: one follow of the engine, and one pass for each filter that differs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Docker } from "./fixtures/docker.js";
import { Hub } from "./fixtures/hub.js";
import { script } from "./fixtures/logs.js";

let docker, hub, token, id;
const sockets = [];

before(async () => {
  docker = await Docker.start();
  // It waits for the word, so that all are there before the first line.
  const wait = "while ! test -e /go; do sleep 0.1; done";
  id = await script(
    docker,
    "one",
    `${wait}; i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; done`,
  );
  hub = await Hub.start({ docker, args: ["--log-store", "off"] });
  token = await hub.token("many");
});

after(async () => {
  for (const socket of sockets) socket.disconnect();
  await hub?.stop();
  await docker?.stop();
});

async function figure(name) {
  const line = (await hub.metrics()).split("\n").find((one) => one.startsWith(`${name} `));
  return Number(line?.split(" ")[1] ?? 0);
}

/** A viewer with this filter; counts the lines that it gets. */
async function viewer(filters) {
  const socket = await hub.client(token, { transports: ["websocket"] });
  sockets.push(socket);
  const seen = { lines: 0 };
  const take = ({ logs }) => (seen.lines += logs.filter((line) => !line.marker).length);
  socket.on("logHistory", take);
  socket.on("logBatch", take);
  socket.on("logGap", (gap) => (seen.gap = gap));
  const asked = { type: "container", id, options: { logs: { tail: 1000, filters } } };
  const answer = await socket.timeout(20_000).emitWithAck("subscribe", asked);
  assert.ok(answer.ok, JSON.stringify(answer));
  return seen;
}

test("1,000 viewers of a log are one follow, and 200 with 20 filters are 20 passes a line", async () => {
  const viewers = [];
  for (let n = 0; n < 800; n += 100) {
    viewers.push(...(await Promise.all(Array.from({ length: 100 }, () => viewer({})))));
  }
  const filtered = [];
  for (let n = 0; n < 200; n += 1) {
    // Twenty that differ, ten viewers each: every line has its last digits.
    filtered.push(await viewer({ text: String(100 + (n % 20)) }));
  }
  assert.equal(sockets.length, 1000);
  assert.equal(await figure("kobel_log_follows_total"), 1);
  const before = await figure("kobel_log_filter_passes_total");
  await docker.run("exec", "one", "touch", "/go");
  const end = Date.now() + 30_000;
  while (!viewers.every((one) => one.lines === 400)) {
    assert.ok(Date.now() < end, `${viewers.filter((one) => one.lines === 400).length} have all`);
    await new Promise((done) => setTimeout(done, 100));
  }
  for (const one of filtered) assert.equal(one.lines, 1);
  for (const one of [...viewers, ...filtered]) assert.equal(one.gap, undefined);
  const passes = (await figure("kobel_log_filter_passes_total")) - before;
  // Markers are entries, too; who wants all asks for no pass, or for one.
  const entries = 402;
  assert.ok(passes >= 20 * 400 && passes <= 21 * entries, `${passes} passes`);
  assert.equal(await figure("kobel_log_follows_total"), 1);
});
