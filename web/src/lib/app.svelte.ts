/**
 * The page's session and its live connection: who is signed in, how the connection fares, and what
 * ties the two together.
 */
import { api, ApiError, type Session } from "./api";
import { Fleet } from "./fleet/fleet.svelte";
import { known } from "./known";
import { LiveClient, type Status } from "./live/client";
import { safeReturn } from "./route";
import { router } from "./router.svelte";

/** How long to wait before trying again when the hub itself cannot be asked. */
const RETRY_MS = 3_000;

class App {
  /** `undefined` while it is not known whether anybody is signed in. */
  session = $state.raw<Session | null | undefined>(undefined);
  /** Why the session could not be asked for. */
  unreachable = $state<string>();
  status = $state.raw<Status>({ phase: "idle" });
  latency = $state<number>();
  /** Signed in by a link, with no password to come back by. */
  offerPassword = $state(false);

  readonly live = new LiveClient((reason) => void this.#recheck(reason));

  /** Kept while other views are open, so that Back finds the fleet as it was. */
  fleet = $state.raw(new Fleet(this.live));

  /** Whether numbers are live; otherwise they are shown grey. */
  readonly online = $derived(this.status.phase === "live");

  constructor() {
    this.live.status.on((status) => (this.status = status));
    this.live.latency.on((latency) => (this.latency = latency));
    document.addEventListener("visibilitychange", () => this.#visible());
    addEventListener("focus", () => this.#visible());
    for (const input of ["pointerdown", "pointermove", "keydown", "wheel", "scroll"]) {
      addEventListener(input, () => this.live.act(), { passive: true, capture: true });
    }
    addEventListener("online", () => this.live.retryNow());
    this.#visible();
  }

  /** Finds out who is signed in and, if somebody is, connects. */
  async start(): Promise<void> {
    if (router.route.view === "sign-in") {
      this.session ??= null;
      return;
    }
    await this.#recheck("");
  }

  entered(session: Session, byLink: boolean): void {
    this.session = session;
    this.offerPassword = byLink && !session.account.hasPassword;
    router.go(safeReturn(router.query.get("to")), { replace: true });
    this.live.connect();
  }

  async signOut(): Promise<void> {
    this.live.disconnect();
    try {
      await api.signOut();
    } finally {
      this.#forget();
      router.go("/sign-in");
    }
  }

  passwordSet(): void {
    this.offerPassword = false;
    if (!this.session) return;
    const account = { ...this.session.account, hasPassword: true };
    this.session = { ...this.session, account };
  }

  async #recheck(reason: string): Promise<void> {
    try {
      this.session = await api.session();
      this.unreachable = undefined;
      // Signed in, and yet the hub refused the connection: the reason stands in the banner, and
      // trying again at once would only repeat it.
      if (this.status.phase === "refused") setTimeout(() => this.#again(), RETRY_MS);
      else this.live.connect();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.live.disconnect();
        this.#forget();
        this.unreachable = undefined;
        const to = router.here === "/" ? "" : `?to=${encodeURIComponent(router.here)}`;
        if (router.route.view !== "sign-in") router.go(`/sign-in${to}`, { replace: true });
      } else {
        this.unreachable = error instanceof Error ? error.message : String(error);
        setTimeout(() => void this.#recheck(reason), RETRY_MS);
      }
    }
  }

  /** Whoever signs in next may see less. */
  #forget(): void {
    this.session = null;
    this.fleet = new Fleet(this.live);
    known.clear();
  }

  #again(): void {
    if (this.session && this.status.phase === "refused") this.live.connect();
  }

  #visible(): void {
    this.live.visible(document.visibilityState === "visible");
  }
}

export const app = new App();
