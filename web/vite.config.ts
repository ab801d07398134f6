import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The hub that `npm run dev` works against.
const hub = process.env["KOBEL_URL"] ?? "http://127.0.0.1:8000";

// Host and Origin go on as the browser sent them: the hub compares the two with each other, and
// answers to localhost under any port.
const proxied = { target: hub, changeOrigin: false };

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2022",
    // The page allows no inline script and no data: font; everything is a file of its own.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      "/api": proxied,
      "/socket.io": { ...proxied, ws: true },
    },
  },
});
