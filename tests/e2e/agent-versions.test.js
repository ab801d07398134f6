// An agent and hubs of other versions, which are made up here: they talk, or it is said why not.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, test } from "node:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { WebSocketServer } from "ws";
import { field, hubSays } from "./fixtures/agent.js";
import { Hub } from "./fixtures/hub.js";
import { Process } from "./fixtures/process.js";

const PLAIN = `kobel_1_${"a".repeat(43)}`;
const ENROLLMENT = `kobel_enroll_1_${"a".repeat(43)}`;
let folder, binary;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "kobel-versions-"));
  ({ binary } = new Hub());
});

after(() => rm(folder, { recursive: true, force: true }));

/** A hub that answers each message of an agent by what `says` gives for its number in the oneof. */
async function fakeHub(says, { post = 404 } = {}) {
  const hub = { links: 0, heard: [] };
  const server = http.createServer((request, answer) => {
    answer.writeHead(request.method === "POST" ? post : 404, {
      "Content-Type": "application/json",
    });
    answer.end('{"error":{"code":"X","message":"no such path in the API"}}');
  });
  const sockets = new WebSocketServer({ server, handleProtocols: () => "kobel-agent.v1" });
  sockets.on("connection", (socket) => {
    hub.links += 1;
    socket.on("error", () => {});
    socket.on("message", (bytes) => {
      // Behind the time: key and varint of `sent_at_ms`, seven bytes since 2004.
      const number = bytes[7] >> 3;
      hub.heard.push(number);
      for (const answer of says[number] ?? []) socket.send(answer);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  hub.url = `http://127.0.0.1:${server.address().port}`;
  hub.stop = () => {
    for (const socket of sockets.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  };
  return hub;
}

const start = (hub, token = PLAIN) =>
  new Process("agent", binary, ["agent", "--hub", hub.url, "--docker", "off"], {
    env: { PATH: process.env.PATH, HOME: folder, KOBEL_TOKEN: token },
  });

const HELLO = 2;
const CLAIMS = 3;
const REPORTS = 4;

test("a hub that speaks none of its versions is told of, and not tried again by itself", async () => {
  const words = "this hub (kobel 9.9.9) speaks the versions 7 to 9: update the agent";
  const hub = await fakeHub({ [HELLO]: [hubSays.refusal(1, words)] });
  try {
    const agent = start(hub);
    await agent.ended;
    // Not 77: when the hub is updated it may work, so whoever starts it again may.
    assert.equal(agent.child.exitCode, 1);
    assert.match(agent.output, /kobel 9\.9\.9.*update the agent/);
    assert.equal(hub.links, 1);
  } finally {
    await hub.stop();
  }
});

test("a hub that takes it for a version that it does not speak is told of", async () => {
  const hub = await fakeHub({ [HELLO]: [hubSays.welcome(9)] });
  const agent = start(hub);
  try {
    await agent.until("a reason", () =>
      /a welcome to version 9; trying again|version 9/.test(agent.output),
    );
    assert.ok(agent.running, "another hub may stand there by then");
  } finally {
    await agent.stop();
    await hub.stop();
  }
});

test("a newer hub that says more than it knows is talked with", async () => {
  // Fields and messages of later versions, before and among those of this one.
  const later = field.bytes(99, "later");
  const hub = await fakeHub({
    [HELLO]: [field.bytes(1, Buffer.concat([field.number(1, 1), later, field.number(98, 7)]))],
    [CLAIMS]: [later, hubSays.claimed(later), hubSays.needs(0, 1)],
  });
  const agent = start(hub);
  try {
    await agent.until("reports", () => hub.heard.filter((n) => n === REPORTS).length >= 3);
    assert.equal(hub.links, 1);
    assert.match(agent.output, /connected hub=/);
  } finally {
    assert.equal(await agent.stop(), 0);
    await hub.stop();
  }
});

test("a hub that knows no enrollment is told of", async () => {
  for (const post of [404, 405]) {
    const hub = await fakeHub({}, { post });
    try {
      const agent = start(hub, ENROLLMENT);
      await agent.ended;
      assert.equal(agent.child.exitCode, 1);
      assert.match(
        agent.output,
        /nothing enrolls agents at .*an old one takes a token of the role agent/is,
      );
      assert.equal(hub.links, 0);
    } finally {
      await hub.stop();
    }
  }
});
