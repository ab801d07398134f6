// What happens to a container reaches the browser at once.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { Docker } from "./fixtures/docker.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";

let docker, hub, socket, uuid;

before(async () => {
  docker = await Docker.start();
  hub = await Hub.start({ docker });
  socket = await hub.client(await hub.token("containers"));
  uuid = await hub.deviceUuid(socket);
  const initial = await subscribe(socket, { type: "device", id: uuid });
  if (initial.data.device.engine.state !== "connected") {
    await next(socket, "deviceUpdate", ({ data }) => data.engine.state === "connected");
  }
});

after(async () => {
  socket?.disconnect();
  await hub?.stop();
  await docker?.stop();
});

/** The container's next update for which `when` holds. */
const update = (id, when) =>
  next(socket, "containerUpdate", ({ data }) => data.containerId === id && when(data));

test("start, figures, pause, rename, stop, remove", async () => {
  const id = await docker.start("life", "-m", "64m");
  await update(id, (c) => c.state === "running" && c.name === "life").catch(async () => {
    // It may have been reported before its id was known here.
    const { data } = await subscribe(socket, { type: "device", id: uuid });
    assert.equal(data.containers.find((c) => c.containerId === id)?.state, "running");
  });
  const { data } = await update(id, (c) => c.cpu !== undefined && c.memory !== undefined);
  assert.ok(data.cpu >= 0 && data.cpu < 400);
  assert.equal(data.memoryLimit, 64 * 1024 * 1024);
  assert.ok(data.pids >= 1);

  for (const [args, when] of [
    [["pause", "life"], (c) => c.state === "paused"],
    [["unpause", "life"], (c) => c.state === "running"],
    [["rename", "life", "afterlife"], (c) => c.name === "afterlife"],
    [["stop", "-t", "0", "afterlife"], (c) => c.state === "exited" && c.exitCode === 137],
    [["start", "afterlife"], (c) => c.state === "running" && c.exitCode === undefined],
    [["rm", "-f", "afterlife"], (c) => c.state === "removed"],
  ]) {
    const heard = update(id, when);
    await docker.run(...args);
    await heard;
  }
});

test("a health check's verdict arrives", async () => {
  const id = await docker.start(
    "sick",
    "--health-cmd=test -f /well",
    "--health-interval=1s",
    "--health-retries=1",
  );
  await update(id, (c) => c.health === "unhealthy");
  const heard = update(id, (c) => c.health === "healthy");
  await docker.run("exec", "sick", "touch", "/well");
  await heard;
  await docker.run("rm", "-f", "sick");
});

test("out of memory: exited by the kernel's hand", async () => {
  const name = "greedy";
  const heard = next(
    socket,
    "containerUpdate",
    ({ data }) => data.name === name && data.state === "exited" && data.exitCode === 137,
    20_000,
  );
  await docker.run(
    ...["run", "-d", "--name", name, "--network=none", "-m", "16m", "--memory-swap", "16m"],
    ...["kobel-test:latest", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M"],
  );
  await heard;
  await docker.run("rm", "-f", name);
});

test("docker stop to the client's event: p95 of 50 under 250 ms", async (t) => {
  const id = await docker.start("flip", "--stop-signal=KILL");
  const times = [];
  for (let i = 0; i < 50; i++) {
    const stopped = update(id, (c) => c.state === "exited").then(() => performance.now());
    const begun = performance.now();
    await docker.run("stop", "flip");
    times.push((await stopped) - begun);
    const started = update(id, (c) => c.state === "running");
    await docker.run("start", "flip");
    await started;
  }
  await docker.run("rm", "-f", "flip");
  times.sort((a, b) => a - b);
  const [p50, p95] = [times[24], times[47]].map((ms) => ms.toFixed(1));
  t.diagnostic(`docker stop (the command's start) to event: p50 ${p50} ms, p95 ${p95} ms of 50`);
  console.log(`docker stop to event: p50 ${p50} ms, p95 ${p95} ms, max ${times[49].toFixed(1)} ms`);
  assert.ok(times[47] < 250, `p95 ${p95} ms`);
});

test("Docker restarting is survived, and told meanwhile", async () => {
  const id = await docker.start("survivor");
  const gone = next(socket, "deviceUpdate", ({ data }) => data.engine.state !== "connected");
  await docker.down();
  const { data } = await gone;
  assert.match(data.engine.message, /docker/i);
  await next(socket, "stats");
  const back = next(
    socket,
    "deviceUpdate",
    ({ data }) => data.engine.state === "connected",
    30_000,
  );
  await docker.up();
  await back;
  const heard = update(id, (c) => c.state === "exited");
  await docker.run("stop", "-t", "0", "survivor");
  await heard;
  await docker.run("rm", "-f", "survivor");
});

test("no Docker at first: said, metrics go on, connected by itself when it appears", async () => {
  await docker.down();
  const other = await Hub.start({ docker });
  try {
    const viewer = await other.client(await other.token("late"));
    const id = await other.deviceUuid(viewer);
    const initial = await subscribe(viewer, { type: "device", id });
    const engine =
      initial.data.device.engine.state === "unknown"
        ? (await next(viewer, "deviceUpdate")).data.engine
        : initial.data.device.engine;
    assert.equal(engine.state, "absent");
    assert.match(engine.message, /docker/i);
    await next(viewer, "stats");
    const back = next(
      viewer,
      "deviceUpdate",
      ({ data }) => data.engine.state === "connected",
      30_000,
    );
    await docker.up();
    assert.equal((await back).data.engine.kind, "docker");
    viewer.disconnect();
  } finally {
    await other.stop();
  }
});

test("by cgroups alone: seen, measured, gone, and no socket is touched", async () => {
  // A socket that notices whoever comes.
  let touched = false;
  const other = await Hub.start({ args: ["--docker", "cgroup-only"] });
  const trap = createServer(() => (touched = true)).listen(`${other.dir}/no-docker.sock`);
  try {
    const viewer = await other.client(await other.token("cgroups"));
    const id = await other.deviceUuid(viewer);
    await subscribe(viewer, { type: "device", id });
    // Others on this machine are seen as well.
    const container = await docker.start("alone");
    const update = (when) =>
      next(viewer, "containerUpdate", ({ data }) => data.containerId === container && when(data));
    const { data } = await update((c) => c.cpu !== undefined);
    assert.equal(data.name, container.slice(0, 12));
    assert.equal(data.state, "running");
    assert.ok(data.pids >= 1 && data.memory > 0);
    const gone = update((c) => c.state === "removed");
    await docker.run("rm", "-f", "alone");
    await gone;
    assert.equal(touched, false);
    viewer.disconnect();
  } finally {
    trap.close();
    await other.stop();
  }
});
