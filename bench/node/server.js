// Socket.IO's own server under the bench's contract (see contract/src/lib.rs). With bufferutil, or
// without it by WS_NO_BUFFER_UTIL=1.
import { createServer } from "node:http";

import { Server } from "socket.io";

const number = (name, otherwise) => {
  const value = Number(process.env[name] ?? otherwise);
  if (!Number.isFinite(value)) throw new Error(`${name} is not a number`);
  return value;
};
const port = number("PORT", 3000);
const rooms = number("ROOMS", 1);
const rate = number("RATE", 1);
const payload = number("PAYLOAD", 300);
const joins = number("JOINS", 0);

const http = createServer();
const io = new Server(http);
let joined = 0;
io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    joined += 1;
    ack();
  });
});

const filler = { ts: Date.now() * 1000, host: "web-1", note: "" };
filler.note = "x".repeat(Math.max(0, payload - JSON.stringify(filler).length));
const micros = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

const perSecond = rooms * rate;
let start = 0;
let done = 0;
const publish = () => {
  const due = () => Math.floor(((performance.now() - start) / 1000) * perSecond);
  if (due() > done + perSecond + rooms) done = due() - 1;
  while (done < due()) {
    io.to(`room-${done % rooms}`).emit("news", { ...filler, ts: micros() });
    done += 1;
  }
  const next = start + ((done + 1) / perSecond) * 1000 - performance.now();
  // At least one turn for what came in.
  if (next < 1) setImmediate(publish);
  else setTimeout(publish, next);
};
const begin = () => {
  if (joined < joins) return setTimeout(begin, 20);
  start = performance.now();
  publish();
};
http.listen(port, "127.0.0.1", () => perSecond > 0 && begin());
