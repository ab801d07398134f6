// Start, health, metrics, logs, configuration, shutdown.
import assert from "node:assert/strict";
import { writeFile, readFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import { test } from "node:test";
import { Hub, freePort, next, subscribe } from "./fixtures/hub.js";
import { request } from "./fixtures/http.js";
import { Process, run } from "./fixtures/process.js";

test("health, readiness and metrics", async () => {
  const hub = await Hub.start();
  try {
    assert.equal((await request(hub, "/healthz")).text, "ok\n");
    assert.equal((await request(hub, "/readyz", { headers: { Host: "any.name" } })).status, 200);
    const token = await hub.token("metrics");
    const socket = await hub.client(token);
    const uuid = await hub.deviceUuid(socket);
    await subscribe(socket, { type: "device", id: uuid });
    socket.emit("no such event");
    socket.emit("constructor");
    await next(socket, "stats");
    const text = await hub.metrics();
    for (const line of [
      /^# TYPE websocket_connections counter$/m,
      /^websocket_connections_total\{namespace="\/"\} 1$/m,
      /^websocket_connections_active\{namespace="\/"\} 1$/m,
      /^websocket_messages_received_total\{namespace="\/",event="subscribe"\} 2$/m,
      /^websocket_messages_received_total\{namespace="\/",event="other"\} 2$/m,
      /^websocket_messages_sent_total\{namespace="\/",event="stats"\} \d+$/m,
      /^websocket_message_size_bytes_bucket\{le="1000.0",namespace="\/",direction="in"\} \d+$/m,
      /^websocket_message_size_bytes_count\{namespace="\/",direction="out"\} \d+$/m,
      /^websocket_subscriptions_active\{type="device"\} 1$/m,
      /^websocket_subscriptions_active\{type="dashboard"\} 1$/m,
      /^# TYPE websocket_errors counter$/m,
      /^kobel_collect_samples_total [1-9]\d*$/m,
      /^kobel_sessions\{transport="websocket"\} \d+$/m,
      /^kobel_devices 1$/m,
      /^kobel_delivery_latency_seconds_count [1-9]\d*$/m,
      /^process_resident_memory_bytes [1-9]\d+$/m,
      /^# EOF$/m,
    ]) {
      assert.match(text, line);
    }
    assert.doesNotMatch(text, /no such event|constructor/);
    // From elsewhere, as through a proxy, it takes a token.
    const far = (headers) =>
      request(hub, "/metrics", { headers: { "X-Forwarded-For": "192.0.2.1", ...headers } });
    assert.equal((await far({})).status, 401);
    assert.equal((await far({ Authorization: `Bearer ${token}` })).status, 200);
    socket.disconnect();
    await hub.process.until("the gauge to fall", async () =>
      /^websocket_connections_active\{namespace="\/"\} 0$/m.test(await hub.metrics()),
    );
    const left = await hub.metrics();
    assert.match(left, /^websocket_subscriptions_active\{type="device"\} 0$/m);
  } finally {
    await hub.stop();
  }
});

test("an orderly shutdown: viewers are told when to come back, and it ends with 0", async () => {
  const hub = await Hub.start();
  const token = await hub.token();
  const sockets = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      hub.client(token, i % 4 === 0 ? { transports: ["polling"] } : { transports: ["websocket"] }),
    ),
  );
  const told = sockets.map((socket) => next(socket, "serverShutdown"));
  const closed = sockets.map((socket) => next(socket, "disconnect"));
  const begun = Date.now();
  const ended = hub.process.stop();
  const delays = (await Promise.all(told)).map(({ message, reconnectDelay }) => {
    assert.equal(message, "Server is restarting");
    return reconnectDelay;
  });
  await Promise.all(closed);
  assert.equal(await ended, 0);
  assert.ok(Date.now() - begun < 4_000, `${Date.now() - begun} ms`);
  assert.ok(
    delays.every((ms) => ms >= 2_000 && ms <= 8_000),
    delays.join(),
  );
  assert.ok(new Set(delays).size >= 15, "the delays are not spread");
  assert.ok(Math.max(...delays) - Math.min(...delays) > 3_000, delays.join());
  // Identity, tokens and accounts survive.
  await hub.up();
  const back = await hub.client(token);
  back.disconnect();
  await hub.stop();
});

test("the machine keeps its identity over restarts, and the stream gets a new epoch", async () => {
  const hub = await Hub.start();
  const token = await hub.token();
  const look = async () => {
    const socket = await hub.client(token);
    const uuid = await hub.deviceUuid(socket);
    const { epoch, seq } = await subscribe(socket, { type: "device", id: uuid });
    socket.disconnect();
    return { uuid, epoch, seq };
  };
  const before = await look();
  await hub.process.stop();
  await hub.up();
  const after = await look();
  assert.equal(after.uuid, before.uuid);
  assert.notEqual(after.epoch, before.epoch);
  const socket = await hub.client(token);
  const since = { epoch: before.epoch, seq: before.seq };
  const resumed = await subscribe(socket, { type: "device", id: before.uuid, options: { since } });
  assert.equal(resumed.gap, true);
  socket.disconnect();
  await hub.stop();
});

test("kill -9 loses no token that was acknowledged", async () => {
  const hub = await Hub.start();
  const token = await hub.token();
  await hub.process.stop("SIGKILL");
  await hub.up();
  (await hub.client(token)).disconnect();
  await hub.stop();
});

test("log lines: JSON on request", async () => {
  const hub = await Hub.start({ args: ["--log-format", "json", "--log", "debug"] });
  await hub.process.stop();
  const lines = hub.process.output.split("\n").filter((line) => line.startsWith("{"));
  const listening = lines.map((line) => JSON.parse(line)).find((l) => l.message === "listening");
  assert.equal(listening.level, "INFO");
  assert.match(listening.timestamp, /^\d{4}-/);
  await hub.stop();
});

test("wrong configuration stops the start and says what would be right", async () => {
  const hub = await Hub.start();
  try {
    const file = path.join(hub.dir, "kobel.toml");
    const port = await freePort();
    for (const [toml, says] of [
      ['ping-interval = "25"', /kobel\.toml.*line 1.*25s/s],
      ['listne = "127.0.0.1:1"', /kobel\.toml.*unknown field `listne`.*`listen`/s],
    ]) {
      await writeFile(file, toml);
      await assert.rejects(hub.cli("serve", "--config", file), says);
    }
    const listen = ["serve", "--listen", `127.0.0.1:${port}`];
    await assert.rejects(hub.cli(...listen, "--ping-timeout", "soon"), /25s, 1m 30s or 12h/);
    await assert.rejects(hub.cli(...listen, "--config", "/no/such.toml"), /\/no\/such\.toml/);
    const cluster = { env: { ...hub.env, ENABLE_CLUSTERING: "true" } };
    await assert.rejects(run(hub.binary, listen, cluster), /need a Redis.*--redis-url/);
    cluster.env.REDIS_URL = "redis://:s3cret@127.0.0.1:1";
    await assert.rejects(run(hub.binary, listen, cluster), (error) => {
      assert.match(error.message, /SQLite.*cannot be shared.*KOBEL_DATABASE_URL/);
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });
    const busy = net.createServer().listen(port, "127.0.0.1");
    await new Promise((resolve) => busy.once("listening", resolve));
    await assert.rejects(hub.cli(...listen), /cannot listen on .*--listen/);
    busy.close();
  } finally {
    await hub.stop();
  }
});

test("kobel serve --help teaches", async () => {
  const hub = new Hub();
  const help = await run(hub.binary, ["serve", "--help"]);
  for (const part of ["Examples:", "KOBEL_LISTEN", "[default: 127.0.0.1:8000]", "kobel.toml"]) {
    assert.ok(help.includes(part), part);
  }
  await assert.rejects(run(hub.binary, ["sevre"]), /serve/);
});

test("the machine's clock is the kernel's: two hubs agree", async () => {
  // Two hubs on one machine read the same counters; what they say must match.
  const hubs = await Promise.all([Hub.start(), Hub.start()]);
  try {
    const read = async (hub) => {
      const socket = await hub.client(await hub.token());
      const id = await hub.deviceUuid(socket);
      await subscribe(socket, { type: "device", id });
      await next(socket, "stats");
      const { data } = await next(socket, "stats");
      socket.disconnect();
      return data;
    };
    const [a, b] = await Promise.all(hubs.map(read));
    assert.equal(a.memoryTotal, b.memoryTotal);
    assert.equal(a.cores.length, b.cores.length);
    assert.ok(Math.abs(a.uptime - b.uptime) < 5);
    const uptime = Number((await readFile("/proc/uptime", "utf8")).split(" ")[0]);
    assert.ok(Math.abs(uptime - a.uptime) < 10);
  } finally {
    await Promise.all(hubs.map((hub) => hub.stop()));
  }
});

test("one viewer: the memory of the process", async (t) => {
  const hub = await Hub.start();
  const socket = await hub.client(await hub.token());
  await subscribe(socket, { type: "device", id: await hub.deviceUuid(socket) });
  for (let i = 0; i < 3; i++) await next(socket, "stats");
  const mib = (await hub.memory()) / 1024 / 1024;
  console.log(`memory with one viewer: ${mib.toFixed(1)} MiB`);
  t.diagnostic(`${mib.toFixed(1)} MiB`);
  assert.ok(mib < 150);
  socket.disconnect();
  await hub.stop();
});

test("an old binary beside a newer database says so", async () => {
  const hub = await Hub.start();
  await hub.process.stop();
  const script = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)")
db.commit()
`;
  await run("python3", ["-c", script, path.join(hub.env.KOBEL_DATA, "kobel.db")]);
  const process = new Process("kobel", hub.binary, ["serve", "--listen", "127.0.0.1:0"], {
    env: hub.env,
  });
  await process.ended;
  assert.equal(process.child.exitCode, 1);
  assert.match(process.output, /cannot be used.*9999/s);
  await hub.stop();
});
