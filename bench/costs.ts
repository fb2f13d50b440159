// What a server spends on one unit of work (a call, a message), measured while its speed is: CPU time of all its threads,
// by the kernel's count, and bytes that V8 allocates on its heap, by V8's own (`total_allocated_bytes`; buffers outside
// the heap are not in it).

import type { Server } from "./contest.ts";
import { isOnNode } from "./peers.ts";
import type { CaseOutcome, Measured } from "./report.ts";

interface Spent {
  readonly cpuMicroseconds: number | undefined;
  readonly allocatedBytes: number | undefined;
}

export interface Work {
  readonly units: number;
  readonly seconds: number;
}

export class CostMeter {
  readonly #unit: string;
  readonly #spent = new Map<string, Spent[]>();

  /** @param unit what is counted, such as "call" */
  constructor(unit: string) {
    this.#unit = unit;
  }

  /** A measure for `takeTurns`, in units a second. Servers on Node need the memory probe. */
  around(work: (server: Server) => Promise<Work>): (server: Server) => Promise<number> {
    return async (server) => {
      const { who, process } = server;
      const memoryBefore = isOnNode(who) ? await process.memory() : undefined;
      const cpuBefore = process.cpuSeconds();
      const { units, seconds } = await work(server);
      const cpuAfter = process.cpuSeconds();
      const memoryAfter = isOnNode(who) ? await process.memory() : undefined;
      const spent = this.#spent.get(who) ?? [];
      this.#spent.set(who, spent);
      spent.push({
        cpuMicroseconds:
          cpuBefore === undefined || cpuAfter === undefined ? undefined : ((cpuAfter - cpuBefore) * 1e6) / units,
        allocatedBytes:
          memoryBefore === undefined || memoryAfter === undefined
            ? undefined
            : (memoryAfter.allocatedBytes - memoryBefore.allocatedBytes) / units,
      });
      return units / seconds;
    };
  }

  /** The cases that the measures so far make: none for what could not be counted here. */
  cases(title: string): CaseOutcome[] {
    const unit = this.#unit;
    return [
      {
        title: `${title}: the server's CPU time per ${unit}`,
        unit: "µs",
        isSmallerBetter: true,
        measured: this.#measured(({ cpuMicroseconds }) => cpuMicroseconds),
        notes: ["user and system time of all threads, from /proc; it is counted in ticks of 10 ms"],
      },
      {
        title: `${title}: allocated per ${unit}`,
        unit: "bytes",
        isSmallerBetter: true,
        measured: this.#measured(({ allocatedBytes }) => allocatedBytes),
        notes: ["on V8's heap, by v8.getHeapStatistics().total_allocated_bytes; servers on Node only"],
      },
    ].filter(({ measured }) => measured.length > 0);
  }

  /** The first round warms up and is not counted, as in `takeTurns`. */
  #measured(costOf: (spent: Spent) => number | undefined): Measured[] {
    return [...this.#spent].flatMap(([who, spent]) => {
      const samples = spent.slice(1).map(costOf);
      return samples.every((sample) => sample !== undefined) ? [{ who, samples }] : [];
    });
  }
}
