// Enrollment: a token for the first contact, then a key of each agent's own.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Agent, claims, hello, sample } from "./fixtures/agent.js";
import { Gate } from "./fixtures/gate.js";
import { request, sendJson } from "./fixtures/http.js";
import { Hub, subscribe } from "./fixtures/hub.js";
import { Process } from "./fixtures/process.js";

let hub, viewer, folder;
const running = [];

before(async () => {
  hub = await Hub.start({ args: ["--docker", "off"] });
  viewer = await hub.client(await hub.token());
  folder = await mkdtemp(path.join(tmpdir(), "kobel-agent-"));
});

after(async () => {
  for (const agent of running) await agent.stop();
  viewer?.disconnect();
  await hub?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** `kobel agent`, its token in a file; `data` is where its key lies. */
async function start(token, { data = path.join(folder, "data"), url = hub.url, args = [] } = {}) {
  const file = path.join(folder, `token-${randomBytes(4).toString("hex")}`);
  if (token) await writeFile(file, `${token}\n`, { mode: 0o600 });
  const all = ["agent", "--hub", url, "--docker", "off", "--data", data, ...args];
  if (token) all.push("--token-file", file);
  const agent = new Process("agent", hub.binary, all, {
    env: { PATH: process.env.PATH, HOME: folder },
  });
  running.push(agent);
  return agent;
}

const connected = (agent) =>
  agent.until("being connected", () => /connected hub=.*devices=1/.test(agent.output));

const enrollToken = (name, ...options) => hub.token(name, "--enroll", ...options);

const device = async (name) => {
  const { data } = await subscribe(viewer, { type: "dashboard" });
  await viewer.emitWithAck("unsubscribe", { type: "dashboard" });
  return data.devices.find((device) => device.name === name);
};

async function until(what, ask, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, what);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A host by hand: asks for a key, and gives the token that it then has. */
async function enroll(token, instance) {
  const secret = randomBytes(32).toString("base64url");
  const secretSha256 = createHash("sha256").update(secret).digest("hex");
  const answer = await sendJson(
    hub,
    "POST",
    "/api/v1/agent/enroll",
    { instance, name: instance, secretSha256 },
    { Authorization: `Bearer ${token}` },
  );
  const { tokenId } = answer.json;
  return { ...answer, secretSha256, key: `kobel_${tokenId}_${secret}` };
}

const keyFile = async (data) => {
  const name = (await readdir(data)).find((name) => /^agent-\w+\.key$/.test(name));
  return name && path.join(data, name);
};

test("an agent gets a key of its own, keeps it to itself, and goes on by it", async () => {
  const token = await enrollToken("first", "--tag", "edge", "--group", "eu");
  const agent = await start(token, { args: ["--name", "far", "--tag", "own"] });
  await connected(agent);
  const seen = await until("no sample", async () => {
    const seen = await device("far");
    return seen?.sample && seen;
  });
  assert.deepEqual([seen.state, seen.tags, seen.group], ["online", ["edge", "own"], "eu"]);

  const file = await keyFile(path.join(folder, "data"));
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal((await stat(path.dirname(file))).mode & 0o777, 0o700);
  const { secret, token: number } = JSON.parse(await readFile(file, "utf8"));
  for (const place of [agent.output, hub.process.output, await hub.cli("token", "list")])
    assert.ok(!place.includes(secret) && !place.includes(token), "a secret is shown");
  for (const name of ["kobel.db", "kobel.db-wal"]) {
    const database = await readFile(path.join(hub.dir, "data", name), "latin1");
    assert.ok(!database.includes(secret) && !database.includes(token.slice(-43)), name);
  }
  const line = await readFile(`/proc/${agent.child.pid}/cmdline`, "latin1");
  assert.doesNotMatch(line, /kobel_(enroll|\d)/);

  const list = await hub.cli("token", "list");
  assert.match(list, /first .* enroll .*used up, 1 of 1 used/);
  assert.match(list, new RegExp(`${number} .*far \\(device \\d+\\) .*agent .*1 device .*valid`));

  // By the key from now on: the token is worth nothing any more, and not needed either.
  assert.equal(await agent.stop(), 0);
  for (const given of [token, undefined]) {
    const again = await start(given);
    await connected(again);
    assert.doesNotMatch(again.output, /enrolled/);
    assert.equal((await until("it is back", () => device("far"))).deviceUuid, seen.deviceUuid);
    assert.equal(await again.stop(), 0);
  }
  const audit = JSON.parse(
    (
      await request(hub, "/api/v1/audit", {
        headers: { Authorization: `Bearer ${await hub.token("auditor", "--role", "admin")}` },
      })
    ).text,
  ).entries;
  assert.ok(audit.some((e) => e.action === "agent.enroll" && e.deviceUuid === seen.deviceUuid));
});

test("a revoked key ends the link within a second, and no try follows", async () => {
  const gate = await Gate.before(hub.port);
  try {
    // Of another address, so of another key file: as on a machine that lost its key.
    const data = path.join(folder, "revoked");
    await hub.cli("agent", "revoke", "far");
    const token = await enrollToken("second", "--uses", "5");
    const agent = await start(token, { data, url: gate.url });
    await connected(agent);
    const { deviceUuid } = await until("online", async () => {
      const far = await device("far");
      return far?.state === "online" && far;
    });
    const from = Date.now();
    await hub.cli("agent", "revoke", "far");
    await until("ended", async () => (await device("far")).state === "unreachable", 3_000);
    assert.ok(Date.now() - from < 1_500, `after ${Date.now() - from} ms`);
    await agent.ended;
    assert.equal(agent.child.exitCode, 77, agent.output);
    assert.match(
      agent.output,
      /does not take this machine's key.*revoked.*token create NAME --enroll/,
    );

    // Started again it asks once; and the token that enrolls others still does not undo it.
    const { came } = gate;
    const again = await start(token, { data, url: gate.url });
    await again.ended;
    assert.deepEqual([again.child.exitCode, gate.came - came], [77, 1], again.output);
    await rm(data, { recursive: true });
    const anew = await start(token, { data, url: gate.url });
    await anew.ended;
    assert.equal(anew.child.exitCode, 77);
    assert.match(anew.output, /key was revoked after the enrollment token was made/);
    await assert.rejects(hub.cli("agent", "revoke", "far"), /no key of its own/);

    // A newer one does: somebody meant it.
    const newer = await start(await enrollToken("third"), { data, url: gate.url });
    await connected(newer);
    assert.equal((await device("far")).deviceUuid, deviceUuid);
    // Where the key is revoked, and another new token is given at the next start.
    await newer.stop();
    await hub.cli("agent", "revoke", "far");
    const last = await start(await enrollToken("fourth"), { data, url: gate.url });
    await connected(last);
    assert.match(last.output, /enrolling anew/);
    await last.stop();
  } finally {
    await gate.stop();
  }
});

test("a deleted device's agent is out at once", async () => {
  const token = await enrollToken("fifth", "--uses", "5");
  const { key } = await enroll(token, "gone");
  const agent = await Agent.open(hub, key);
  agent.send(hello({ instance: "gone" }));
  await agent.heard("welcome");
  agent.send(claims("host"));
  await agent.heard("claimed");
  await hub.cli("device", "rm", "gone");
  assert.match((await agent.heard("refusal", 1_500)).text, /revoked/);
  await assert.rejects(Agent.open(hub, key), { status: 401 });
  const again = await enroll(token, "gone");
  assert.equal(again.status, 409);
  assert.match(again.text, /deleted on the hub/);
});

test("a key is good for its own device alone", async () => {
  const token = await enrollToken("pair", "--uses", "2");
  const [a, b] = [await enroll(token, "host-a"), await enroll(token, "host-b")];
  assert.deepEqual([a.status, b.status], [201, 201]);
  const open = async (key, instance, run) => {
    const agent = await Agent.open(hub, key);
    agent.send(hello({ instance, run }));
    await agent.heard("welcome");
    agent.send(claims("host"));
    return agent;
  };
  const own = await open(a.key, "host-a", "run-a");
  assert.doesNotMatch((await own.heard("claimed")).text, /limited/);
  own.send(sample(0, { cpu: 11 }));
  await until("no sample", async () => (await device("host-a"))?.sample?.cpu === 11);

  // Another's key, the same instance, even the same run: it neither writes nor disturbs.
  const thief = await open(b.key, "host-a", "run-a");
  assert.match((await thief.heard("claimed")).text, /limited to other devices/);
  thief.send(sample(0, { cpu: 99 }));
  own.send(sample(0, { cpu: 12 }));
  await until("no sample", async () => (await device("host-a"))?.sample?.cpu === 12);
  assert.ok(!own.said.some(({ name }) => name === "refusal" || name === "released"));
  assert.equal(own.socket.readyState, 1);

  // It opens nothing else, and neither does the token.
  const headers = (key) => ({ headers: { Authorization: `Bearer ${key}` } });
  assert.equal((await request(hub, "/api/v1/devices", headers(a.key))).status, 403);
  assert.equal((await request(hub, "/api/v1/devices", headers(token))).status, 401);
  await assert.rejects(Agent.open(hub, token), (error) => {
    assert.equal(error.status, 401);
    assert.match(error.message, /enrollment token.*update the agent/);
    return true;
  });
  await assert.rejects(hub.client(a.key), /agent/);
  await own.close();
  await thief.close();
});

test("a token is used as often as it says, whoever hurries", async () => {
  const token = await enrollToken("race", "--uses", "3");
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, n) => enroll(token, `racer-${n}`)),
  );
  const made = answers.filter(({ status }) => status === 201);
  assert.equal(made.length, 3);
  const refused = answers.find(({ status }) => status === 401);
  assert.match(refused.text, /used up: it was for 3/);
  const short = await enrollToken("short", "--expires", "1s");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  assert.match((await enroll(short, "late")).text, /expired/);
  const gone = await enrollToken("gone-token");
  await hub.cli("token", "revoke", "gone-token");
  assert.match((await enroll(gone, "late")).text, /was revoked/);
  for (const wrong of ["", "kobel_enroll_1_x", `${token}x`, `${token.slice(0, -2)}AA`]) {
    const { status, text } = await enroll(wrong, "late");
    assert.equal(status, 401);
    assert.doesNotMatch(text, /used up|revoked|expired/);
  }
});

test("an answer that is lost costs neither a use nor a host", async () => {
  const gate = await Gate.before(hub.port);
  const data = path.join(folder, "lost");
  try {
    gate.state = "deaf";
    await hub.cli("agent", "revoke", "far");
    const token = await enrollToken("lossy");
    const agent = await start(token, { data, url: gate.url });
    await until("used", async () => /lossy .*1 of 1 used/.test(await hub.cli("token", "list")));
    // Killed before it heard: what it made is on the disk, without a number.
    agent.child.kill("SIGKILL");
    await agent.ended;
    const before = JSON.parse(await readFile(await keyFile(data), "utf8"));
    assert.equal(before.token, null);
    gate.cut();
    gate.open();
    const again = await start(token, { data, url: gate.url });
    await connected(again);
    const after = JSON.parse(await readFile(await keyFile(data), "utf8"));
    assert.equal(after.secret, before.secret);
    assert.ok(after.token > 0);
    await again.stop();
  } finally {
    await gate.stop();
  }
});

test("the plain token works as before", async () => {
  const plain = await hub.token("plain", "--role", "agent");
  const data = path.join(folder, "plain");
  const agent = await start(plain, { data });
  await connected(agent);
  assert.equal(await agent.stop(), 0);
  await assert.rejects(readdir(data), "it keeps nothing");
});

test("what does not go together is said", async () => {
  for (const [args, words] of [
    [["--enroll", "--role", "viewer"], /cannot be used with/],
    [["--uses", "3"], /--enroll/],
    [["--enroll", "--uses", "0"], /uses: use 1 to 10,000/],
    [["--enroll", "--expires", "60d"], /expires: use up to 30 days/],
    [["--enroll", "--tag", "a,b"], /tags\[0\]: a tag has no comma/],
  ])
    await assert.rejects(hub.cli("token", "create", "odd", ...args), words);
});
