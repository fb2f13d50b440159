// The store of notifications while a server runs: one that has failed is closed and opened again, later and later.
//
// RS1. Between a failure and the next success every call is refused with UNAVAILABLE and the reason.
// RS2. What does not prove itself is not opened again: somebody has to mend it. All other services go on.
import { DataLoss, SluiceError } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { NotificationStore } from "./contract.ts";
import type { NotificationStoreSource } from "./service.ts";

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 30_000;
/** One that was open for so long begins with the shortest pause again. */
const STEADY_MS = 60_000;

export interface ReopeningStoreOptions {
  readonly open: () => Promise<NotificationStore>;
  readonly clock: Clock;
  readonly logger: Logger;
}

type State =
  | { readonly kind: "open"; readonly store: NotificationStore; readonly openedMs: number }
  | { readonly kind: "opening" }
  | { readonly kind: "waiting"; readonly error: Error; readonly timer: Timer }
  /** RS2. */
  | { readonly kind: "refused"; readonly error: DataLoss }
  | { readonly kind: "closed" };

/** Resolves when the store is open, or is known not to open; disposing closes it. */
export async function openReopeningStore(options: ReopeningStoreOptions): Promise<ReopeningStore> {
  const store = new ReopeningStore(options);
  await store.open();
  return store;
}

export class ReopeningStore implements NotificationStoreSource, AsyncDisposable {
  readonly #options: ReopeningStoreOptions;
  readonly #listeners: ((error: Error) => void)[] = [];
  #state: State = { kind: "opening" };
  #pauseMs = RETRY_FIRST_MS;
  /** What runs and nobody waits for. */
  #background: Promise<void> = Promise.resolve();

  constructor(options: ReopeningStoreOptions) {
    this.#options = options;
  }

  get current(): NotificationStore {
    const state = this.#state;
    if (state.kind === "open") return state.store;
    if (state.kind === "refused") throw state.error;
    const reason = state.kind === "waiting" ? `: ${state.error.message}` : "";
    const text = `Cannot reach the notifications: their store is being opened again${reason}`;
    throw new SluiceError("unavailable", text, { reason: "STORE_UNAVAILABLE", retryAfterMs: this.#pauseMs });
  }

  onFailure(listener: (error: Error) => void): void {
    this.#listeners.push(listener);
  }

  async open(): Promise<void> {
    const { clock, logger } = this.#options;
    this.#state = { kind: "opening" };
    try {
      const store = await this.#options.open();
      this.#state = { kind: "open", store, openedMs: clock.monotonicMs() };
      store.onFailure((error) => this.#onFailure(store, error));
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      const text = `notifications are not served: ${error.message}`;
      if (error instanceof DataLoss) {
        logger.error({ event: "notifications-closed" }, text);
        this.#state = { kind: "refused", error };
      } else {
        logger.warn({ event: "notifications-closed", retryInMs: this.#pauseMs }, text);
        this.#wait(error);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const state = this.#state;
    if (state.kind === "waiting") state.timer.cancel();
    // What is being opened is closed when it is open.
    this.#state = { kind: "closed" };
    await this.#background;
    const after = this.#state as State;
    if (after.kind === "open") await after.store[Symbol.asyncDispose]();
    if (after.kind === "waiting") after.timer.cancel();
    if (state.kind === "open") await state.store[Symbol.asyncDispose]();
  }

  #onFailure(store: NotificationStore, error: Error): void {
    const state = this.#state;
    if (state.kind !== "open" || state.store !== store) return;
    const { clock, logger } = this.#options;
    logger.error({ event: "notifications-failed", error }, "the store of notifications has failed; it is opened again");
    if (clock.monotonicMs() - state.openedMs > STEADY_MS) this.#pauseMs = RETRY_FIRST_MS;
    this.#state = { kind: "opening" };
    for (const listener of this.#listeners) listener(error);
    this.#background = this.#background
      .then(() => store[Symbol.asyncDispose]())
      .catch(() => undefined) // it has failed already, and said so
      .then(() => this.#wait(error));
  }

  #wait(error: Error): void {
    if (this.#state.kind === "closed") return;
    const timer = this.#options.clock.setTimer(() => {
      this.#background = this.#background.then(() => this.open());
    }, this.#pauseMs);
    this.#pauseMs = Math.min(RETRY_MAX_MS, this.#pauseMs * 2);
    this.#state = { kind: "waiting", error, timer };
  }
}
