// Nanoseconds that the page's METR reader takes for a device's reading, beside JSON.parse.
//
//   cargo bench -p kobel-wire --bench encodings -- --frames /tmp/frames.json
//   node web/scripts/bench-metr.mjs /tmp/frames.json [--json]
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const [file, option] = process.argv.slice(2);
if (file === undefined) {
  console.error("usage: node bench-metr.mjs FILE [--json]; FILE is from the bench of kobel-wire");
  process.exit(2);
}

// The module as the page has it: bundled, minified.
const [bundle] = [
  await build({
    configFile: false,
    logLevel: "silent",
    build: {
      lib: {
        entry: fileURLToPath(new URL("../src/lib/metr/index.ts", import.meta.url)),
        formats: ["es"],
      },
      write: false,
    },
  }),
].flat();
const code = Buffer.from(bundle.output[0].code).toString("base64");
const { decodeV1, Reader } = await import(`data:text/javascript;base64,${code}`);

const { devices, v1, keys, deltas, json } = JSON.parse(readFileSync(file, "utf8"));
const bytes = (frames) => frames.map((hex) => new Uint8Array(Buffer.from(hex, "hex")));
const streams = { v1: bytes(v1), keys: bytes(keys), deltas: bytes(deltas) };

let sum = 0; // so that nothing is done for nobody
const readers = {
  "JSON, METR's fields": () => {
    for (const text of json) sum += JSON.parse(text)[0].cpu;
    return json.length;
  },
  "METR v1": () => {
    const now = Date.now();
    for (const frame of streams.v1) sum += decodeV1(frame, now).columns.cpu[0];
    return streams.v1.length;
  },
  "METR v2, key frames": () => apply(streams.keys),
  "METR v2, delta frames": () => apply(streams.deltas),
};

function apply(frames) {
  const reader = new Reader();
  for (const frame of frames) {
    reader.apply(frame);
    sum += reader.columns.cpu[0];
  }
  return frames.length;
}

/** The best of many runs, for V8 has to warm up. */
function best(run) {
  let least = Infinity;
  for (let round = 0; round < 30; round++) {
    const start = process.hrtime.bigint();
    const frames = run();
    least = Math.min(least, Number(process.hrtime.bigint() - start) / (frames * devices));
  }
  return least;
}

const rows = Object.entries(readers).map(([name, run]) => ({
  encoding: name,
  decodeNs: best(run),
}));
if (option === "--json") {
  console.log(JSON.stringify({ node: process.version, devices, rows }));
} else {
  console.log(`| Node ${process.version}, ${devices} devices | decode ns |\n| --- | ---: |`);
  for (const { encoding, decodeNs } of rows)
    console.log(`| ${encoding} | ${decodeNs.toFixed(0)} |`);
}
if (Number.isNaN(sum)) throw new Error("the first device has no cpu");
