/** Where we are: the address as state. Back and forward work as in any site. */
import { parsePath, patchQuery, type Route } from "./route";

class Router {
  #path = $state(location.pathname);
  #search = $state(location.search);

  readonly route: Route = $derived(parsePath(this.#path));
  readonly query: URLSearchParams = $derived(new URLSearchParams(this.#search));

  /** Whether the view was come to by Back or Forward, and should be as it was left. */
  returned = false;

  constructor() {
    addEventListener("popstate", () => {
      this.returned = true;
      this.#read();
    });
    document.addEventListener("click", (event) => this.#click(event));
  }

  /** The path and query, to come back to. */
  get here(): string {
    return this.#path + this.#search;
  }

  go(href: string, options: { replace?: boolean } = {}): void {
    this.returned = false;
    history[options.replace ? "replaceState" : "pushState"](null, "", href);
    this.#read();
  }

  /** Changes a part of the view's state, in place: Back leaves the view, not each keystroke. */
  set(patch: Record<string, string | undefined>): void {
    history.replaceState(null, "", location.pathname + patchQuery(location.search, patch));
    this.#read();
  }

  /** Sets a value that may be there several times, in place. */
  setAll(key: string, values: readonly string[]): void {
    const query = new URLSearchParams(location.search);
    query.delete(key);
    for (const value of values) query.append(key, value);
    const text = query.toString();
    history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
    this.#read();
  }

  #read(): void {
    this.#path = location.pathname;
    this.#search = location.search;
  }

  /** Follows a plain click on a link of ours without loading the page anew. */
  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin)
      return;
    event.preventDefault();
    if (link.pathname + link.search !== this.here) this.go(link.pathname + link.search);
  }
}

export const router = new Router();
