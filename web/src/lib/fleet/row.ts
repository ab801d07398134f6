/**
 * A device's row: made once, then given to whichever device is in view, and written by hand. At a
 * thousand devices a second that is the difference between a page that rests and one that renders.
 */
import { age, isStale } from "../format/age";
import { level } from "../format/level";
import { MARKS } from "../format/marks";
import { delivers, deviceLook, type Look } from "../format/state";
import { ABSENT, celsius, percent, rate, text } from "../format/units";
import { devicePath } from "../route";
import type { FleetColumns } from "./columns";
import { BarCell, FigureCell, TextCell } from "./cells";
import { Sparkline } from "./sparkline";

const GAUGE = (figure: string) => `
  <span role="gridcell" class="c-${figure}"
    ><span class="gauge"
      ><span class="track" aria-hidden="true"><span></span></span
      ><span class="num" data-testid="fleet-${figure}"><span class="value"></span></span></span
  ></span>`;

const NUMBER = (figure: string) =>
  `<span role="gridcell" class="num c-${figure}"><span class="value"></span></span>`;

// The same columns in the same order as FleetHead.
const template = document.createElement("template");
template.innerHTML = `
<div role="row" class="fleet-line fleet-row" data-testid="fleet-row" tabindex="-1">
  <span role="gridcell" class="c-state"
    ><svg class="mark" viewBox="0 0 12 12" width="12" height="12" role="img"></svg></span>
  <span role="gridcell" class="c-name"
    ><a tabindex="-1"></a><span class="word"></span><span class="inline-tags faint"></span></span>
  <span role="gridcell" class="c-tags faint"></span>
  ${GAUGE("cpu")}${GAUGE("memory")}${GAUGE("disk")}
  ${NUMBER("temperature")}${NUMBER("in")}${NUMBER("out")}
  <span role="gridcell" class="num c-containers"
    ><span class="bad"></span><span class="running"></span><span class="unit"></span></span>
  <span role="gridcell" class="c-spark"><canvas aria-hidden="true"></canvas></span>
  <span role="gridcell" class="num c-age"
    ><span class="age" data-testid="age">${ABSENT}</span></span>
</div>`.replace(/>\s+</g, "><");

export class FleetRow {
  readonly kind = "row";
  readonly element: HTMLElement;
  /** The key of the line that it shows. */
  key = "";

  #slot = -1;
  #version = -1;
  #changes = -1;
  #look: Look | undefined;
  #late = false;
  #dead = false;

  #state: HTMLElement;
  #mark: Element;
  #link: HTMLAnchorElement;
  #name: TextCell;
  #word: HTMLElement;
  #tags: HTMLElement;
  #inlineTags: HTMLElement;
  #cpu: FigureCell;
  #memory: FigureCell;
  #disk: FigureCell;
  #bars: Record<"cpu" | "memory" | "disk", BarCell>;
  #temperature: FigureCell;
  #in: FigureCell;
  #out: FigureCell;
  #containers: HTMLElement;
  #unhealthy: TextCell;
  #running: TextCell;
  #total: TextCell;
  #sparkCell: HTMLElement;
  #spark: Sparkline;
  #ageCell: HTMLElement;
  #age: TextCell;

  constructor() {
    this.element = template.content.firstElementChild?.cloneNode(true) as HTMLElement;
    const part = <T extends Element = HTMLElement>(selector: string): T => {
      const found = this.element.querySelector<T>(selector);
      if (!found) throw new Error(`a fleet row has no ${selector}`);
      return found;
    };
    this.#state = part(".c-state");
    this.#mark = part(".mark");
    this.#link = part("a");
    this.#name = new TextCell(this.#link);
    this.#word = part(".word");
    this.#tags = part(".c-tags");
    this.#inlineTags = part(".inline-tags");
    this.#cpu = new FigureCell(part(".c-cpu .value"));
    this.#memory = new FigureCell(part(".c-memory .value"));
    this.#disk = new FigureCell(part(".c-disk .value"));
    this.#bars = {
      cpu: new BarCell(part(".c-cpu .track span")),
      memory: new BarCell(part(".c-memory .track span")),
      disk: new BarCell(part(".c-disk .track span")),
    };
    this.#temperature = new FigureCell(part(".c-temperature .value"));
    this.#in = new FigureCell(part(".c-in .value"));
    this.#out = new FigureCell(part(".c-out .value"));
    this.#containers = part(".c-containers");
    this.#unhealthy = new TextCell(part(".c-containers .bad"));
    this.#running = new TextCell(part(".c-containers .running"));
    this.#total = new TextCell(part(".c-containers .unit"));
    this.#sparkCell = part(".c-spark");
    this.#spark = new Sparkline(part<HTMLCanvasElement>("canvas"));
    this.#ageCell = part(".age");
    this.#age = new TextCell(this.#ageCell);
  }

  /** Gives the row to a line: `index` among all lines from 0. */
  place(key: string, slot: number, index: number, selected: boolean, tabbable: boolean): void {
    if (slot !== this.#slot || key !== this.key) {
      this.key = key;
      this.#slot = slot;
      this.#version = -1;
      this.#changes = -1;
    }
    const { element } = this;
    // The head is the first row.
    set(element, "aria-rowindex", String(index + 2));
    set(element, "aria-selected", String(selected));
    set(element, "tabindex", tabbable ? "0" : "-1");
  }

  /** Shows what the columns hold now, if it is not shown already. */
  show(columns: FleetColumns, now: number): void {
    const slot = this.#slot;
    const version = columns.version(slot);
    if (version !== this.#version) {
      this.#version = version;
      if (this.#changes !== columns.changes) {
        this.#changes = columns.changes;
        this.#describe(columns, slot);
      }
      this.#write(columns, slot);
    }
    this.showAge(columns, now);
  }

  /** The age counts on while nothing comes. */
  showAge(columns: FleetColumns, now: number): void {
    const at = columns.freshAt(this.#slot);
    const late = at !== undefined && isStale(now - at, columns.period(this.#slot));
    this.#age.show(at === undefined ? ABSENT : age(now - at));
    if (late !== this.#late) {
      this.#late = late;
      this.#ageCell.classList.toggle("old", late);
    }
    this.element.classList.toggle("stale", late || this.#dead);
  }

  /** Draws the line again, in the colours of now. */
  draw(columns: FleetColumns): void {
    this.#spark.draw(columns.sparks, this.#slot, columns.sampledAt(this.#slot));
  }

  /** What changes seldom. */
  #describe(columns: FleetColumns, slot: number): void {
    const uuid = columns.uuids[slot] ?? "";
    const state = columns.states[slot] ?? "online";
    const name = columns.names[slot] ?? "";
    const tags = columns.tags[slot] ?? [];
    const look = deviceLook(state);
    set(this.element, "data-device", uuid);
    set(this.element, "data-state", state);
    this.#dead = !delivers(state);
    if (look !== this.#look) {
      this.#look = look;
      this.#mark.innerHTML = MARKS[look.shape];
      this.#mark.setAttribute("class", `mark ${look.level}`);
      this.#mark.setAttribute("aria-label", look.label);
      this.#state.title = look.label;
      this.#word.textContent = look.level ? look.label : "";
      this.#word.className = `word ${look.level}`;
    }
    set(this.#link, "href", devicePath(uuid));
    set(this.#link, "title", name);
    this.#name.show(name);
    this.#tags.textContent = this.#inlineTags.textContent = tags.join(" ");
    this.#tags.title = tags.join(", ");
    const [running, total] = [columns.running(slot), columns.total(slot)];
    const unhealthy = columns.unhealthy(slot);
    // The shape says it to the eye, the title and the label to others.
    this.#unhealthy.show(unhealthy > 0 ? `◆\u200A${unhealthy} ` : "");
    this.#running.show(String(running));
    this.#total.show(`\u200A/\u200A${total}`);
    const words = `${running} running of ${total}${unhealthy ? `, ${unhealthy} unhealthy` : ""}`;
    set(this.#containers, "title", words);
    set(this.#containers, "aria-label", words);
  }

  #write(columns: FleetColumns, slot: number): void {
    const cpu = columns.figure(slot, "cpu");
    const memory = columns.figure(slot, "memory");
    const disk = columns.figure(slot, "disk");
    const temperature = columns.figure(slot, "temperature");
    const levels = {
      cpu: level("cpu", cpu),
      memory: level("memory", memory),
      disk: level("disk", disk),
    };
    const cpuText = percent(cpu);
    this.#cpu.show(cpuText, levels.cpu);
    this.#memory.show(percent(memory), levels.memory);
    this.#disk.show(percent(disk), levels.disk);
    this.#bars.cpu.show(cpu, levels.cpu);
    this.#bars.memory.show(memory, levels.memory);
    this.#bars.disk.show(disk, levels.disk);
    this.#temperature.show(celsius(temperature), level("temperature", temperature));
    this.#in.show(rate(columns.figure(slot, "networkIn")));
    this.#out.show(rate(columns.figure(slot, "networkOut")));
    set(this.#sparkCell, "aria-label", `CPU now ${text(cpuText)}`);
    this.draw(columns);
  }
}

/** Sets an attribute unless it says so already. */
function set(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
