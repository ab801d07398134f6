// Puts a brotli-compressed copy beside each file of the build that gets smaller by it. The hub hands
// that out where the browser takes it, and so never compresses anything itself.
import { readFile, readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { brotliCompressSync, constants } from "node:zlib";

const dist = new URL("../dist", import.meta.url).pathname;
for (const entry of await readdir(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !/\.(js|css|html|svg)$/.test(entry.name)) continue;
  const file = path.join(entry.parentPath, entry.name);
  const plain = await readFile(file);
  const small = brotliCompressSync(plain, {
    params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
  });
  if (small.length < plain.length * 0.9) await writeFile(`${file}.br`, small);
}
