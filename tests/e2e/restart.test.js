// A restart under many viewers: told when to come back, back when told, and no storm.
import assert from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { after, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";

// More by hand: KOBEL_RESTART_CLIENTS=9000.
const CLIENTS = Number(process.env.KOBEL_RESTART_CLIENTS ?? 400);

test(`${CLIENTS} viewers of a restarting hub are back when they were told, each in its turn`, async (t) => {
  const hub = await Hub.start();
  const sockets = [];
  after(async () => {
    sockets.forEach((socket) => socket.disconnect());
    await hub.stop();
  });
  const token = await hub.token();
  for (let i = 0; i < CLIENTS; i += 50) {
    const some = Array.from({ length: 50 }, () => hub.client(token, { transports: ["websocket"] }));
    sockets.push(...(await Promise.all(some)));
  }
  const uuid = await hub.deviceUuid(sockets[0]);

  // A client that does as it is told.
  const backs = sockets.map(async (socket) => {
    const { reconnectDelay } = await next(socket, "serverShutdown", undefined, 20_000);
    const told = performance.now();
    await next(socket, "disconnect");
    await new Promise((resolve) => setTimeout(resolve, told + reconnectDelay - performance.now()));
    // The hub is back within two seconds: whoever was told less tries until it is there.
    for (;;) {
      const connected = new Promise((resolve) => {
        socket.once("connect", () => resolve(true));
        socket.once("connect_error", () => resolve(false));
      });
      socket.connect();
      if (await connected) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await subscribe(socket, { type: "device", id: uuid });
    return { reconnectDelay, waited: performance.now() - told };
  });

  // Where this process itself stands still, its clients are late by no fault of the hub.
  const stillness = monitorEventLoopDelay({ resolution: 10 });
  stillness.enable();
  const begun = performance.now();
  assert.equal(await hub.process.stop(), 0);
  await hub.up();
  const down = performance.now() - begun;
  const all = await Promise.all(backs);

  const late = Math.max(...all.map(({ waited, reconnectDelay }) => waited - reconnectDelay));
  const still = stillness.max / 1e6;
  const delays = all.map(({ reconnectDelay }) => reconnectDelay).sort((a, b) => a - b);
  const busiest = Math.max(
    ...delays.map((from) => delays.filter((d) => d >= from && d < from + 1000).length),
  );
  const figures = `down ${down.toFixed(0)} ms, back at most ${late.toFixed(0)} ms after the time told, at most ${busiest} of ${CLIENTS} in one second; this process stood still for ${still.toFixed(0)} ms`;
  console.log(figures);
  t.diagnostic(figures);
  assert.ok(late - still < 2_000, figures);
  assert.ok(delays[0] >= 2_000 && delays.at(-1) <= 8_000);
  assert.ok(busiest < CLIENTS / 4, figures);
});
