// `kobel agent`: this machine and its containers, reported to a hub that does not dial it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { Docker, IMAGE } from "./fixtures/docker.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { Process, run } from "./fixtures/process.js";
import { SecureHub } from "./fixtures/tls.js";

let hub, docker, viewer, token, agent;

before(async () => {
  docker = await Docker.start();
  // The hub itself sees no engine: what is seen came by the agent.
  hub = await Hub.start({ args: ["--docker", "off"] });
  viewer = await hub.client(await hub.token());
  token = await hub.token("web-1", "--role", "agent");
});

after(async () => {
  await agent?.stop();
  viewer?.disconnect();
  await hub?.stop();
  await docker?.stop();
});

/** An agent, its token in a file. */
async function start(to, secret, { args = [], env = {} } = {}) {
  const file = path.join(to.dir, `token-${Date.now()}`);
  await writeFile(file, `${secret}\n`, { mode: 0o600 });
  const all = ["agent", "--hub", to.url, "--token-file", file, ...args];
  return new Process("agent", to.binary, all, {
    env: { PATH: process.env.PATH, HOME: to.dir, DOCKER_HOST: docker.host, ...env },
  });
}

async function until(what, ask, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `${what}\n${agent?.output}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function device(socket, name) {
  const { data } = await subscribe(socket, { type: "dashboard" });
  await socket.emitWithAck("unsubscribe", { type: "dashboard" });
  return data.devices.find((device) => device.name === name);
}

const watch = (socket, { deviceUuid }) => subscribe(socket, { type: "device", id: deviceUuid });

test("a machine and its containers are seen live", async () => {
  const web = await docker.start("web");
  agent = await start(hub, token, { args: ["--name", "far", "--tag", "edge"] });
  const seen = await until("no sample", async () => {
    const far = await device(viewer, "far");
    return far?.sample && far;
  });
  assert.deepEqual([seen.state, seen.tags], ["online", ["edge"]]);
  const { data } = await watch(viewer, seen);
  assert.equal(data.device.source, "agent");
  assert.ok(data.sample.memoryTotal > 1e8 && data.sample.uptime > 0, "this machine's figures");
  assert.equal(data.device.engine.state, "connected");
  assert.deepEqual(
    data.containers.map((container) => [container.name, container.containerId]),
    [["web", web]],
  );
  // Watched: one a second.
  const from = Date.now();
  const mine = (event) => event.data.deviceUuid === seen.deviceUuid;
  for (let n = 0; n < 4; n += 1) await next(viewer, "stats", mine, 3_000);
  assert.ok(Date.now() - from < 8_000, `four samples took ${Date.now() - from} ms`);
  const change = next(viewer, "containerUpdate", ({ data }) => data.state === "exited");
  await docker.run("stop", "-t", "0", "web");
  assert.equal((await change).data.name, "web");
});

test("its containers' lines come over the link, each once, and a label keeps them from the store", async () => {
  const count = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done";
  const make = (name, ...options) =>
    docker.run("run", "-d", "--name", name, "--network=none", ...options, IMAGE, "sh", "-c", count);
  const id = (await make("writer")).trim();
  await make("secret", "--label", "kobel.logs=off");
  const numbers = [];
  const take = ({ streamId, logs }) => {
    if (!streamId.endsWith(id)) return;
    const lines = logs.filter(({ marker }) => !marker);
    numbers.push(...lines.map(({ message }) => Number(message.split(" ")[1])));
  };
  viewer.on("logHistory", take);
  viewer.on("logBatch", take);
  await until("known", async () => {
    const answer = await viewer.emitWithAck("subscribe", {
      type: "container",
      id,
      options: { logs: { tail: 1000 } },
    });
    return answer.ok;
  });
  await until("lines", () => numbers.length > 150);
  assert.deepEqual(
    numbers,
    numbers.map((_, at) => at + 1),
  );
  await viewer.emitWithAck("unsubscribe", { type: "container", id });
  const stored = await until("stored", async () => {
    const found = await hub.cli("search", "container=writer line", "--limit", "5", "--json");
    return found.includes("line") && found;
  });
  assert.match(stored, /"name":"writer"/);
  assert.equal((await hub.cli("search", "container=secret", "--json")).trim(), "");
  await docker.run("rm", "-f", "writer", "secret");
});

test("a token in a file is in no list of processes and no line of a log", async () => {
  const line = await readFile(`/proc/${agent.child.pid}/cmdline`, "utf8");
  assert.doesNotMatch(line, /kobel_\d/);
  assert.ok(!agent.output.includes(token) && !hub.process.output.includes(token));
});

test("a hub that starts again has everything again", async () => {
  await docker.run("start", "web");
  const before = await device(viewer, "far");
  viewer.disconnect();
  await hub.process.stop();
  await hub.up();
  viewer = await hub.client(await hub.token());
  const seen = await until("not back", async () => {
    const far = await device(viewer, "far");
    return far?.state === "online" && far.sample && far;
  });
  assert.equal(seen.deviceUuid, before.deviceUuid);
  await until("containers and their engine", async () => {
    const { data } = await watch(viewer, seen);
    await viewer.emitWithAck("unsubscribe", { type: "device", id: seen.deviceUuid });
    return (
      data.device.engine.state === "connected" &&
      data.containers.some(({ name, state }) => name === "web" && state === "running")
    );
  });
});

test("a revoked token ends the link within a second, and the next try is the last", async () => {
  const seen = await device(viewer, "far");
  await watch(viewer, seen);
  const told = next(
    viewer,
    "deviceUpdate",
    ({ data }) => data.deviceUuid === seen.deviceUuid && data.state === "unreachable",
    3_000,
  );
  const from = Date.now();
  await hub.cli("token", "revoke", "web-1");
  const { data } = await told;
  assert.match(data.stateReason, /revoked/);
  assert.ok(Date.now() - from < 1_500, `after ${Date.now() - from} ms`);
  await agent.ended;
  assert.notEqual(agent.child.exitCode, 0);
  assert.match(agent.output, /token create/);

  // What systemd would do: started again, it says what to do by a status that ends that.
  const again = await start(hub, token);
  await again.ended;
  assert.equal(again.child.exitCode, 77, again.output);
  assert.match(again.output, /does not take the token.*revoked/);
});

test("what is missing is said before anything is dialled", async () => {
  const env = { PATH: process.env.PATH, HOME: hub.dir };
  const fails = (args, words) =>
    assert.rejects(run(hub.binary, ["agent", ...args], { env }), ({ message }) => {
      assert.match(message, words);
      return true;
    });
  await fails(["--hub", hub.url], /no token: .*--token-file.*token create NAME --enroll/s);
  await fails(["--token", "kobel_1_x"], /no hub: name it by --hub/);
  await fails(
    ["--hub", hub.url, "--token-file", "/nowhere/token"],
    /cannot read the token in \/nowhere\/token/,
  );
  await fails(
    ["--hub", hub.url, "--token", "x", "--hub-fingerprint", "ab".repeat(32)],
    /without TLS/,
  );
});

test("a hub whose certificate signs itself is told by its fingerprint", async () => {
  // As openssl makes it: an authority by its own words.
  const secure = await SecureHub.start({ args: ["--docker", "off"] });
  try {
    const secret = await secure.token("web-2", "--role", "agent");
    const args = ["--docker", "off"];
    const strange = await start(secure, secret, { args });
    const [, said] = await strange.until("a fingerprint", () =>
      /not trusted.*fingerprint is ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})/s.exec(strange.output),
    );
    await strange.stop();
    const openssl = ["x509", "-noout", "-fingerprint", "-sha256", "-in", secure.cert];
    const fingerprint = (await run("openssl", openssl)).trim();
    assert.ok(fingerprint.endsWith(said), `${fingerprint} is not ${said}`);

    const other = `${said.slice(0, -2)}${said.endsWith("00") ? "01" : "00"}`;
    const wrong = await start(secure, secret, { args: [...args, "--hub-fingerprint", other] });
    await wrong.until("a reason", () => /another one than --hub-fingerprint/.test(wrong.output));
    await wrong.stop();

    for (const trust of [
      ["--hub-fingerprint", fingerprint],
      ["--hub-ca", secure.cert],
    ]) {
      const right = await start(secure, secret, { args: [...args, ...trust] });
      await right.until("being connected", () => /connected.*devices=1/.test(right.output));
      assert.equal(await right.stop(), 0);
    }
  } finally {
    await secure.stop();
  }
});

test("the unit for systemd holds together", async () => {
  const unit = await hub.cli("agent", "install", "--hub", "https://kobel.example.com");
  assert.match(
    unit,
    /^ExecStart="\S+kobel" agent --hub "https:\/\/kobel.example.com" --token-file/m,
  );
  assert.match(unit, /^RestartPreventExitStatus=77$/m);
  assert.match(unit, /^LoadCredential=token:\/etc\/kobel\/agent.token$/m);
});
