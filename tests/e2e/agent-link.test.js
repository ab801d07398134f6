// The agent link: who comes in, what is refused, and what becomes of devices.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Agent, claims, hello, sample } from "./fixtures/agent.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request } from "./fixtures/http.js";

let hub, viewer, agentToken;

before(async () => {
  hub = await Hub.start();
  viewer = await hub.client(await hub.token());
  agentToken = await hub.token("agents", "--role", "agent");
});

after(async () => {
  viewer?.disconnect();
  await hub?.stop();
});

const refused = async () => {
  const lines = (await hub.metrics()).matchAll(
    /kobel_agent_refused_total\{reason="(\w+)"\} (\d+)/g,
  );
  return Object.fromEntries([...lines].map(([, reason, count]) => [reason, Number(count)]));
};

/** A link that is welcome, with these devices. */
async function link(keys = ["a"], options = {}) {
  const agent = await Agent.open(hub, options.token ?? agentToken);
  agent.send(hello(options));
  await agent.heard("welcome");
  agent.send(claims(...keys));
  await agent.heard("claimed");
  return agent;
}

async function device(name) {
  const { data } = await subscribe(viewer, { type: "dashboard" });
  await viewer.emitWithAck("unsubscribe", { type: "dashboard" });
  return data.devices.find((device) => device.name === name);
}

async function until(what, ask, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("only a token of the role agent opens the link, and it opens nothing else", async () => {
  const viewers = [await hub.token(), await hub.token("boss", "--role", "admin")];
  for (const token of viewers) {
    await assert.rejects(Agent.open(hub, token), (error) => {
      assert.equal(error.status, 403);
      assert.match(error.message, /role (viewer|admin).*--role agent/);
      return true;
    });
  }
  for (const token of [undefined, "", "kobel_1_wrong", `${agentToken}x`]) {
    await assert.rejects(Agent.open(hub, token), { status: 401 });
  }
  assert.equal((await refused()).unauthorized, 6);

  await assert.rejects(hub.client(agentToken), (error) => {
    assert.equal(error.data.code, "UNAUTHORIZED");
    assert.match(error.message, /agent/);
    return true;
  });
  const other = { ...hub, localAddress: "127.0.0.1" };
  const headers = { Authorization: `Bearer ${agentToken}`, "X-Forwarded-For": "192.0.2.1" };
  const metrics = await request(other, "/metrics", { headers });
  assert.equal(metrics.status, 401);
  const session = await request(hub, "/api/v1/session", { headers });
  assert.equal(session.status, 401);
  await assert.rejects(hub.cli("user", "add", "robot", "--role", "agent"), /--role agent/);
});

test("the WebSocket must speak the link's protocol", async () => {
  await assert.rejects(Agent.open(hub, agentToken, { protocol: "kobel-agent.v9" }), {
    status: 400,
  });
  const headers = { Authorization: `Bearer ${agentToken}` };
  const plain = await request(hub, "/api/v1/agent", { headers });
  assert.equal(plain.status, 400);
});

test("a version without one in common is refused, and it is said what to do", async () => {
  for (const [versions, words] of [
    [{ min: 2, max: 3 }, /this hub .* is too old for the agent .*update the hub/],
    [{ min: 0, max: 0 }, /the agent .* is too old for this hub .*update the agent/],
  ]) {
    const agent = await Agent.open(hub, agentToken);
    agent.send(hello(versions));
    assert.match((await agent.heard("refusal")).text, words);
    assert.equal((await agent.closed).code, 1008);
  }
  assert.equal((await refused()).version, 2);
});

test("a device of an agent is seen, goes away with it, and comes back as the same", async () => {
  const agent = await link(["host-a"]);
  agent.send(sample(0, { cpu: 12.5 }));
  const seen = await until("no sample", async () => {
    const seen = await device("host-a");
    return seen?.sample && seen;
  });
  assert.equal(seen.sample.cpu, 12.5);
  assert.equal(seen.state, "online");
  await agent.close();
  const gone = await until("still online", async () => {
    const seen = await device("host-a");
    return seen.state === "unreachable" && seen;
  });
  assert.equal(gone.deviceUuid, seen.deviceUuid);
  const { data } = await subscribe(viewer, { type: "device", id: seen.deviceUuid });
  assert.match(data.device.stateReason, /agent's connection ended/);
  assert.equal(data.device.source, "agent");

  const again = await link(["host-a"]);
  const back = await until("not back", async () => {
    const seen = await device("host-a");
    return seen.state === "online" && seen;
  });
  assert.equal(back.deviceUuid, seen.deviceUuid);
  await again.close();
});

test("what viewers need is told to the agent", async () => {
  const agent = await link(["host-b"]);
  agent.send(sample(0));
  const { deviceUuid } = await until("no device", async () => device("host-b"));
  await subscribe(viewer, { type: "device", id: deviceUuid });
  // Index 0, one second: packed varints.
  assert.match((await agent.heard("needs", 1_500)).text, /\x00.*\x01$/s);
  agent.send(sample(0, { cpu: 77 }));
  const stats = await next(viewer, "stats", (event) => event.data.deviceUuid === deviceUuid);
  assert.equal(stats.data.cpu, 77);
  await agent.close();
});

test("a device that is claimed twice is the newer agent's", async () => {
  const old = await link(["host-c", "host-d"], { instance: "twice", run: "one" });
  const young = await link(["host-c"], { instance: "twice", run: "two" });
  assert.match((await old.heard("released")).text, /another agent claimed it/);
  young.send(sample(0, { cpu: 5 }));
  old.send(sample(0, { cpu: 95 }));
  await until("not taken", async () => (await device("host-c"))?.sample?.cpu === 5);
  assert.ok((await refused()).unknown_device >= 1);
  await old.close();
  await until("not its own", async () => (await device("host-d")).state === "unreachable");
  assert.equal((await device("host-c")).state, "online");
  await young.close();
});

test("the same run that connects anew ends its older link", async () => {
  const first = await link(["host-e"], { instance: "again", run: "one" });
  const second = await link(["host-e"], { instance: "again", run: "one" });
  assert.match((await first.heard("refusal")).text, /connected anew/);
  assert.equal((await first.closed).code, 1008);
  second.send(sample(0));
  await until("not online", async () => (await device("host-e"))?.state === "online");
  await second.close();
});

test("what is no message, or too large, ends the link with a reason", async () => {
  const agents = [];
  for (const [message, code, reason] of [
    ["text", 1003, /binary/],
    [Buffer.alloc(40, 0xff), 1002, /cannot be read/],
    [Buffer.alloc((1 << 20) + 1), 1009, /1048577 bytes/],
  ]) {
    const agent = await link([`host-f${code}`]);
    agents.push(agent);
    agent.send(message);
    const closed = await agent.closed;
    assert.equal(closed.code, code, closed.reason);
    assert.match(closed.reason, reason);
  }
  const counts = await refused();
  assert.ok(counts.too_large >= 1 && counts.protocol >= 2, JSON.stringify(counts));
  // The first message must be the hello.
  const rude = await Agent.open(hub, agentToken);
  rude.send(sample(0));
  assert.equal((await rude.closed).code, 1002);
});

test("values that cannot be are left out", async () => {
  const agent = await link(["host-g"]);
  for (const cpu of [NaN, Infinity, -5, 3e38, 101.5]) {
    agent.send(sample(0, { cpu, memory: 40 }));
    await until("not taken", async () => (await device("host-g"))?.sample?.memory === 40);
    assert.equal((await device("host-g")).sample.cpu, undefined);
  }
  assert.ok((await refused()).bad_value >= 5);
  await agent.close();
});

test("a token for some devices speaks for those only", async () => {
  const first = await link(["host-h", "host-i"], { instance: "scoped", run: "one" });
  const { deviceUuid } = await until("no device", async () => device("host-h"));
  await first.close();
  const token = await hub.token("one", "--role", "agent", "--device", deviceUuid);
  const agent = await Agent.open(hub, token);
  agent.send(hello({ instance: "scoped", run: "two" }));
  await agent.heard("welcome");
  agent.send(claims("host-h", "host-i", "host-j"));
  const answer = (await agent.heard("claimed")).text;
  assert.equal(answer.match(/limited to other devices/g).length, 2);
  await until("not its own", async () => (await device("host-h")).state === "online");
  assert.equal(await device("host-j"), undefined);
  await agent.close();
});

test("a token that is revoked ends its links within a second", async () => {
  const token = await hub.token("short", "--role", "agent");
  const agent = await link(["host-k"], { token });
  await hub.cli("token", "revoke", "short");
  const begun = Date.now();
  assert.match((await agent.heard("refusal", 1_500)).text, /revoked/);
  assert.equal((await agent.closed).code, 1008);
  assert.ok(Date.now() - begun < 1_000, `${Date.now() - begun} ms`);
  await assert.rejects(Agent.open(hub, token), { status: 401 });
});

test("a token that expires ends its links", async () => {
  const token = await hub.token("brief", "--role", "agent", "--expires", "2s");
  const agent = await link(["host-l"], { token });
  assert.match((await agent.heard("refusal", 4_000)).text, /expired/);
});
