// Prints each device's figures as they come.
// KOBEL_TOKEN=kobel_… node watch.mjs http://127.0.0.1:8000
import { io } from "socket.io-client";

const url = process.argv[2] ?? "http://127.0.0.1:8000";
const socket = io(url, { auth: { token: process.env.KOBEL_TOKEN } });

const subscribe = (request) =>
  socket.emit("subscribe", request, (answer) => {
    if (!answer.ok) console.error(`${answer.error.code}: ${answer.error.message}`);
  });

socket.on("connect", () => subscribe({ type: "dashboard", options: { rate: 1 } }));
socket.on("connect_error", (error) => console.error(error.message));

socket.on("initialData", ({ type, data }) => {
  if (type !== "dashboard") return;
  for (const { deviceUuid } of data.devices) subscribe({ type: "device", id: deviceUuid, options: { rate: 1 } });
});

socket.on("stats", ({ data }) => {
  const { deviceUuid, cpu = NaN, memory = NaN, disk = NaN } = data;
  const percent = (value) => `${value.toFixed(1)} %`;
  console.log(
    `${deviceUuid}  cpu ${percent(cpu)}  memory ${percent(memory)}  disk ${percent(disk)}`,
  );
});

socket.on("containerUpdate", ({ data }) => console.log(`${data.name}: ${data.status}`));
