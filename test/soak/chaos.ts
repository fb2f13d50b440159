// What goes wrong during a soak test: which fault, when and to whom is drawn from a seed.
//
// H1. At most one fault of the server at a time; after each it serves again before the next one comes.
// H2. What was started is there and not stopped when `run` ends.
import { pause, systemClock } from "@sluice/client";
import { between } from "../support/crash-random.ts";
import type { FaultKind, FaultProxy } from "../support/fault-proxy.ts";
import type { SoakServer } from "./soak-server.ts";

const CONNECTION_FAULTS: readonly FaultKind[] = ["reset", "close", "half-close", "stall"];
/** Between two faults, ms. */
const CALM_MIN_MS = 500;
const CALM_MAX_MS = 5000;
/** How long a server is away, or stands still. */
const AWAY_MAX_MS = 3000;

/** How often each thing happened. */
export type ChaosCounts = Readonly<Record<"killed" | "restarted" | "stopped" | FaultKind, number>>;

export interface ChaosOptions {
  readonly random: () => number;
  readonly server: SoakServer;
  /** The ways from clients to the server. */
  readonly proxies: readonly FaultProxy[];
  readonly say: (text: string) => void;
}

export class Chaos {
  readonly #options: ChaosOptions;
  readonly #counts = { killed: 0, restarted: 0, stopped: 0, reset: 0, close: 0, "half-close": 0, stall: 0 };

  constructor(options: ChaosOptions) {
    this.#options = options;
  }

  get counts(): ChaosCounts {
    return this.#counts;
  }

  /** Fault after fault, until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    for (;;) {
      await pause(systemClock, between(random, CALM_MIN_MS, CALM_MAX_MS), signal);
      if (signal.aborted) return;
      const chance = random();
      const awayMs = between(random, 0, AWAY_MAX_MS);
      if (chance < 0.2) await this.#kill(awayMs);
      else if (chance < 0.25) await this.#restart();
      else if (chance < 0.3) await this.#stop(awayMs);
      else this.#breakConnections();
    }
  }

  /** SIGKILL, and the same data folder again after a while. */
  async #kill(awayMs: number): Promise<void> {
    this.#count("killed", `for ${awayMs} ms`);
    await this.#options.server.end("SIGKILL");
    await pause(systemClock, awayMs, new AbortController().signal);
    await this.#options.server.start();
  }

  /** A drain, as on an upgrade. */
  async #restart(): Promise<void> {
    this.#count("restarted");
    await this.#options.server.end("SIGTERM");
    await this.#options.server.start();
  }

  /** The whole process stands still, as when its machine swaps or its disk hangs. */
  async #stop(stillMs: number): Promise<void> {
    this.#count("stopped", `for ${stillMs} ms`);
    this.#options.server.signal("SIGSTOP");
    await pause(systemClock, stillMs, new AbortController().signal);
    this.#options.server.signal("SIGCONT");
  }

  #breakConnections(): void {
    const { proxies, random } = this.#options;
    const kind = CONNECTION_FAULTS[between(random, 0, CONNECTION_FAULTS.length - 1)] ?? "reset";
    const which = between(random, 0, proxies.length - 1);
    this.#count(kind, `way ${which + 1}`);
    proxies[which]?.breakAll(kind);
  }

  #count(kind: keyof ChaosCounts, more = ""): void {
    this.#counts[kind]++;
    this.#options.say(`${kind} ${more}`.trim());
  }
}
