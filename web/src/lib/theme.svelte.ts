/** Light or dark: by the system's wish until somebody chooses. */
import { Emitter } from "./live/emitter";

export type Choice = "system" | "light" | "dark";

/** The same key as in `public/theme.js`. */
const KEY = "kobel.theme";

const system = matchMedia("(prefers-color-scheme: dark)");

function stored(): Choice {
  try {
    const theme = localStorage.getItem(KEY);
    return theme === "light" || theme === "dark" ? theme : "system";
  } catch {
    return "system";
  }
}

class Theme {
  choice = $state<Choice>(stored());
  /** Canvases are drawn with the colours of their time; they must be drawn again. */
  readonly changed = new Emitter<void>();

  constructor() {
    system.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  /** System, then light, then dark. */
  next(): void {
    this.choose(({ system: "light", light: "dark", dark: "system" } as const)[this.choice]);
  }

  choose(choice: Choice): void {
    this.choice = choice;
    try {
      if (choice === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Without storage the choice holds until the page is closed.
    }
    this.#apply();
  }

  #apply(): void {
    const dark = this.choice === "system" ? system.matches : this.choice === "dark";
    document.documentElement.dataset["theme"] = dark ? "dark" : "light";
    this.changed.emit();
  }
}

export const theme = new Theme();

/** Tokens by name, as long as the theme holds: canvases ask for them many times a second. */
const tokens = new Map<string, string>();
theme.changed.on(() => tokens.clear());

/** The value of a design token, for canvases. */
export function token(name: string): string {
  let value = tokens.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    tokens.set(name, value);
  }
  return value;
}
