// From SQLite to PostgreSQL: everybody who had a way in has it still.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { Hub, subscribe } from "./fixtures/hub.js";
import { request } from "./fixtures/http.js";
import { Postgres } from "./fixtures/postgres.js";
import { Process, run } from "./fixtures/process.js";

const ROWS = 100_000;

let postgres, hub, token, cookie, devices;

before(async () => {
  postgres = await Postgres.start();
  hub = await Hub.start();
});

after(async () => {
  await hub?.stop();
  await postgres?.stop();
});

const migrate = (...args) => ["store", "migrate", ...args];

/** The devices that a viewer sees, by uuid and number. */
async function seen() {
  const socket = await hub.client(token);
  const { data } = await subscribe(socket, { type: "dashboard" });
  socket.disconnect();
  return data.devices.map(({ deviceUuid, id, name }) => ({ deviceUuid, id, name }));
}

test("a hub on SQLite, with a token, a session, devices and a secret", async () => {
  token = await hub.token("ci");
  cookie = await hub.signIn();
  await hub.cli(
    "device",
    "add",
    "ssh://me@192.0.2.7",
    "--name",
    "far",
    "--no-test",
    "--accept-new",
  );
  await hub.cli("device", "key");
  await hub.process.until("the device", async () => (await seen()).length === 2);
  devices = await seen();
});

test("a running hub's database is not copied", async () => {
  await assert.rejects(hub.cli(...migrate("--to", "postgres://x@127.0.0.1:1/x")), /stop it/);
});

test("a copy is interrupted, refused to hubs, and goes on", async (t) => {
  await hub.process.stop();
  const file = path.join(hub.env.KOBEL_DATA, "kobel.db");
  const fill = `import sqlite3; db = sqlite3.connect(${JSON.stringify(file)})
db.executemany("INSERT INTO audit (at, actor_kind, actor, action, after) VALUES (?, 'hub', 'x', 'y', ?)", ((n, '{"n": %d}' % n) for n in range(${ROWS})))
db.commit()`;
  await run("python3", ["-c", fill]);
  const env = { ...hub.env, KOBEL_DATABASE_URL: postgres.url };

  const first = new Process("migrate", hub.binary, migrate(), { env });
  await first.until("half of it", async () => {
    const rows = await postgres.query("SELECT count(*) FROM audit").catch(() => 0);
    return Number(rows) > 10_000;
  });
  await first.stop("SIGKILL");
  const there = Number(await postgres.query("SELECT count(*) FROM audit"));
  assert.ok(there < ROWS, `${there} rows: it was not interrupted`);
  await assert.rejects(run(hub.binary, ["token", "list"], { env }), /kobel store migrate/);

  const begun = performance.now();
  const second = new Process("migrate", hub.binary, migrate(), { env });
  await second.ended;
  assert.equal(second.child.exitCode, 0, second.output);
  assert.match(second.output, /devices: 2 compared, the same/);
  assert.match(second.output, /1 of them are secrets.*secret\.key/);
  const seconds = (performance.now() - begun) / 1000;
  const figures = `${ROWS - there} rows copied and ${ROWS} compared in ${seconds.toFixed(1)} s`;
  console.log(figures);
  t.diagnostic(figures);
});

test("the hub on PostgreSQL: the same token, session, devices and key", async () => {
  const key = await hub.cli("device", "key");
  hub.env.KOBEL_DATABASE_URL = postgres.url;
  await hub.up();
  assert.deepEqual(await seen(), devices);
  const session = await request(hub, "/api/v1/session", { headers: { Cookie: cookie } });
  assert.equal(session.status, 200);
  assert.equal(await hub.cli("device", "key"), key);
  // A new number is one that was never used.
  const list = await hub.cli("token", "list");
  const fresh = await hub.token("fresh");
  assert.ok(Number(fresh.split("_")[1]) > Number(token.split("_")[1]), list);
});

test("what is not empty is left alone", async () => {
  const env = { ...hub.env };
  await hub.process.stop();
  await assert.rejects(
    run(hub.binary, migrate(), { env }),
    /target is not empty.*nothing was changed/,
  );
  const from = ["--from", `sqlite:${hub.dir}/nowhere`];
  await assert.rejects(run(hub.binary, migrate(...from), { env }), /there is no database/);
});
