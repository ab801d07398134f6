// The fixtures that the cluster's tests stand on: each fault is the one that it is called.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Postgres } from "./fixtures/postgres.js";
import { Redis, RedisCluster, Replicated } from "./fixtures/redis.js";

for (const tls of [false, true]) {
  test(`PostgreSQL${tls ? " by TLS" : ""} keeps what it was given over a restart and a crash`, async (t) => {
    const postgres = await Postgres.start({ tls });
    t.after(() => postgres.stop());
    await postgres.query("CREATE TABLE t (n INT); INSERT INTO t VALUES (1)");
    await postgres.restart();
    await postgres.query("INSERT INTO t VALUES (2)");
    await postgres.kill();
    await assert.rejects(postgres.query("SELECT 1"));
    await postgres.up();
    assert.equal(await postgres.query("SELECT n FROM t ORDER BY n"), "1\n2");
    const inUse = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert.equal(await postgres.query(inUse), tls ? "t" : "f");
  });
}

for (const options of [{}, { password: "let-me-in" }, { tls: true }]) {
  test(`Redis ${JSON.stringify(options)} is paused, killed and restarted`, async (t) => {
    const redis = await Redis.start({ ...options, keep: true });
    t.after(() => redis.stop());
    assert.equal(await redis.cli("SET", "a", "1"), "OK");
    redis.pause();
    const answer = redis.cli("GET", "a");
    const silent = await Promise.race([answer, new Promise((r) => setTimeout(r, 300, "silent"))]);
    assert.equal(silent, "silent");
    redis.resume();
    assert.equal(await answer, "1");
    await redis.restart();
    assert.equal(await redis.cli("GET", "a"), "1");
    await redis.kill();
    await assert.rejects(redis.cli("PING"));
    await redis.up();
  });
}

test("Sentinels make the replica the master of a dead one", async (t) => {
  const group = await Replicated.start({ password: "let-me-in" });
  t.after(() => group.stop());
  const [sentinel] = group.sentinels;
  assert.equal(await sentinel.master(), group.master.port);
  await group.master.cli("SET", "a", "1");
  await group.master.cli("WAIT", "1", "1000");
  await group.master.kill();
  await sentinel.process.until("a failover", async () => {
    return (await sentinel.master()) === group.replica.port;
  });
  assert.equal(await group.replica.cli("GET", "a"), "1");
  await group.master.up();
  await group.master.process.until("the old one to follow", async () => {
    return /role:slave/.test(await group.master.cli("INFO", "replication"));
  });
});

test("three masters make a cluster with sharded channels", async (t) => {
  const cluster = await RedisCluster.start();
  t.after(() => cluster.stop());
  assert.match(await cluster.nodes[0].cli("CLUSTER", "INFO"), /cluster_slots_ok:16384/);
  assert.equal(await cluster.nodes[0].cli("-c", "SPUBLISH", "a", "x"), "0");
});
