// A contest: the same measurement of several servers, in turns, so that what the machine does meanwhile meets all.

import type { Measured, MissingPeer } from "./report.ts";
import { ServerProcess, type ServerCommand } from "./server-process.ts";

/** Who takes part: ourselves, or a peer. */
export interface Contestant {
  readonly who: string;
  readonly command: ServerCommand;
}

/** A contestant, or the reason why there is none on this machine. */
export type Entrant =
  | { readonly kind: "ready"; readonly contestant: Contestant }
  | ({ readonly kind: "missing" } & MissingPeer);

export interface Server {
  readonly who: string;
  readonly process: ServerProcess;
}

/** Starts all contestants, calls `work`, and ends them whatever happened. */
export async function withServers<T>(
  contestants: readonly Contestant[],
  work: (servers: readonly Server[]) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const servers: Server[] = [];
  for (const { who, command } of contestants) {
    servers.push({ who, process: stack.use(await ServerProcess.start(command)) });
  }
  return await work(servers);
}

/**
 * Measures every server `runs` times. A round takes each once; the next round begins with another one. A first round
 * is not counted: it warms them up.
 * @throws Error naming the server whose measurement failed
 */
export async function takeTurns<T extends { readonly who: string }>(
  servers: readonly T[],
  runs: number,
  measure: (server: T) => Promise<number>,
): Promise<Measured[]> {
  const samples = new Map<string, number[]>(servers.map(({ who }) => [who, []]));
  for (let round = 0; round <= runs; round++) {
    for (let turn = 0; turn < servers.length; turn++) {
      const server = servers[(round + turn) % servers.length];
      if (server === undefined) continue;
      const sample = await measureOne(server, measure);
      if (round > 0) samples.get(server.who)?.push(sample);
    }
  }
  return [...samples].map(([who, taken]) => ({ who, samples: taken }));
}

/**
 * Says how much work makes a run of about `seconds` for each contestant: a slow one must not take minutes, and a fast one
 * not be done before it is measured. The first run is of `first` units; every run teaches.
 */
export class Pacer {
  readonly #limits: { readonly first: number; readonly most: number; readonly seconds: number };
  readonly #rates = new Map<string, number>();

  constructor(limits: { readonly first: number; readonly most: number; readonly seconds: number }) {
    this.#limits = limits;
  }

  units(who: string): number {
    const { first, most, seconds } = this.#limits;
    const rate = this.#rates.get(who);
    return rate === undefined ? first : Math.min(most, Math.max(Math.ceil(first / 10), Math.round(rate * seconds)));
  }

  /** @param rate units a second */
  learn(who: string, rate: number): void {
    this.#rates.set(who, rate);
  }
}

async function measureOne<T extends { readonly who: string }>(
  server: T,
  measure: (server: T) => Promise<number>,
): Promise<number> {
  try {
    return await measure(server);
  } catch (cause) {
    throw new Error(`${server.who}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}
