// What the fleet costs a browser: 1,000 simulated devices at 1 s, measured over 30 s, then while
// somebody scrolls. `node page-cost.js [devices] [seconds]` prints the figures.
import { Browser } from "./fixtures/browser.js";
import { cost, inWords } from "./fixtures/cost.js";
import { Hub } from "./fixtures/hub.js";
import { Simulation } from "./fixtures/simulation.js";
import { moving, scrolling, signIn } from "./fixtures/fleet.js";

const [devices = 1_000, seconds = 30] = process.argv.slice(2).map(Number);

let hub, simulation, browser;
try {
  hub = await Hub.start();
  simulation = await Simulation.start(hub, { devices });
  browser = await Browser.start();
  const page = await browser.page();
  await signIn(page, hub);
  await moving(page, devices);
  console.log(inWords(`${devices} devices at 1 s, looked at`, await cost(page, seconds)));
  await page.goto(`${hub.url}/?sort=cpu`);
  await moving(page, devices);
  console.log(inWords("sorted by CPU", await cost(page, seconds)));
  const scrolled = await cost(page, 10, () => scrolling(page, 10));
  console.log(inWords("while scrolling", scrolled));
} finally {
  await browser?.stop();
  await simulation?.stop();
  await hub?.stop();
}
