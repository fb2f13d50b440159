// Histories of a log: what its writers, its readers, its disk and its machine do, as a list that is drawn from a seed before
// anything happens. So a history that fails can be printed, played again, and made shorter.
import type { LogOptions } from "../../packages/server/src/store/log.ts";
import type { OperationKind } from "./fake-file-system.ts";
import { between, seededRandom } from "./crash-random.ts";

/** When the process ends: before the operation so many after this one, or within it. */
export interface Death {
  readonly after: number;
  readonly isWithin: boolean;
  /** What becomes of what was written and not synced. */
  readonly disk: "cached" | "nothing-unsynced" | "any-part-unsynced";
  /** How the next process ends, while it recovers. */
  readonly again?: Death;
}

/** Which entries are asked for; times are those of `timestampOf`. */
export interface StepQuery {
  readonly minSeverity?: number;
  readonly labels?: readonly number[];
  readonly start?: number;
  readonly end?: number;
}

export type Step =
  /** A producer sends a batch; nobody waits for the answer. */
  | {
      readonly kind: "write";
      readonly producer: number;
      readonly count: number;
      readonly label: number;
      readonly size: number;
    }
  /** The producer sends what it has no answer for once more, although nothing failed. */
  | { readonly kind: "write again"; readonly producer: number }
  | { readonly kind: "wait for answers" }
  | { readonly kind: "turns"; readonly count: number }
  | { readonly kind: "pass time"; readonly ms: number }
  | { readonly kind: "follow" }
  | { readonly kind: "ask"; readonly query: StepQuery; readonly maxBytes: number; readonly tail: number }
  /** The disk is full until it is not. */
  | { readonly kind: "fill disk"; readonly isFull: boolean }
  /** The n-th operation of a kind from now on fails. */
  | { readonly kind: "fail"; readonly operation: OperationKind; readonly nth: number; readonly code: "EIO" | "ENOSPC" }
  /** The process will end. */
  | ({ readonly kind: "crash" } & Death)
  | { readonly kind: "restart" };

export interface History {
  readonly seed: number;
  readonly options: Partial<LogOptions>;
  readonly steps: readonly Step[];
}

export const PRODUCERS = 3;
/** More than a log takes. */
const LABELS = 9;
const LABELS_MAX = 7;
const STEPS_MIN = 8;
const STEPS_MAX = 60;
/** An index takes 17 kB. */
const RETENTION_BYTES_MIN = 6000;
const RETENTION_BYTES_MAX = 80_000;
const SEVERITIES = 24;

type Random = () => number;

/** How often each kind of step is drawn, beside the others. */
const WEIGHTS: readonly (readonly [number, (random: Random) => Step])[] = [
  [30, drawWrite],
  [4, (random) => ({ kind: "write again", producer: between(random, 0, PRODUCERS - 1) })],
  [14, () => ({ kind: "wait for answers" })],
  [12, (random) => ({ kind: "turns", count: between(random, 1, 6) })],
  [8, (random) => ({ kind: "pass time", ms: between(random, 1, 250) })],
  [8, () => ({ kind: "follow" })],
  [8, drawAsk],
  [3, (random) => ({ kind: "fill disk", isFull: random() < 0.5 })],
  [4, drawFail],
  [9, drawCrash],
  [2, () => ({ kind: "restart" })],
];
const WEIGHT = WEIGHTS.reduce((sum, [weight]) => sum + weight, 0);

/** Everything that happens in the history of a seed. */
export function drawHistory(seed: number): History {
  const random = seededRandom(seed);
  const options: Partial<LogOptions> = {
    applicationsMax: LABELS_MAX,
    ...(random() < 0.4 ? { retentionBytes: between(random, RETENTION_BYTES_MIN, RETENTION_BYTES_MAX) } : {}),
    ...(random() < 0.2 ? { retentionAgeMs: between(random, 100, 1000) } : {}),
    ...(random() < 0.4 ? { compressAfterMs: 0 } : {}),
  };
  const steps = Array.from({ length: between(random, STEPS_MIN, STEPS_MAX) }, () => drawStep(random));
  return { seed, options, steps };
}

function drawStep(random: Random): Step {
  let left = random() * WEIGHT;
  for (const [weight, draw] of WEIGHTS) {
    left -= weight;
    if (left < 0) return draw(random);
  }
  return { kind: "wait for answers" };
}

function drawWrite(random: Random): Step {
  return {
    kind: "write",
    producer: between(random, 0, PRODUCERS - 1),
    count: random() < 0.5 ? 1 : between(random, 1, 12),
    label: between(random, 0, LABELS - 1),
    size: random() < 0.1 ? between(random, 200, 900) : between(random, 0, 60),
  };
}

function drawAsk(random: Random): Step {
  const times = [between(random, 0, 200), between(random, 0, 200)].sort((a, b) => a - b);
  return {
    kind: "ask",
    query: {
      ...(random() < 0.4 ? { minSeverity: between(random, 1, SEVERITIES) } : {}),
      ...(random() < 0.4 ? { labels: [between(random, 0, LABELS - 1), between(random, 0, LABELS - 1)] } : {}),
      ...(random() < 0.3 ? { start: times[0] ?? 0 } : {}),
      ...(random() < 0.3 ? { end: times[1] ?? 0 } : {}),
    },
    maxBytes: between(random, 1, 3000),
    tail: between(random, 1, 30),
  };
}

const FAILING: readonly OperationKind[] = [
  "write",
  "write",
  "create",
  "sync",
  "sync-folder",
  "truncate",
  "rename",
  "remove",
];

function drawFail(random: Random): Step {
  const operation = FAILING[between(random, 0, FAILING.length - 1)] ?? "write";
  const mayBeFull = operation === "write" || operation === "create";
  return { kind: "fail", operation, nth: between(random, 1, 4), code: mayBeFull && random() < 0.7 ? "ENOSPC" : "EIO" };
}

function drawCrash(random: Random): Step {
  const death = drawDeath(random, 40);
  return { kind: "crash", ...death, ...(random() < 0.3 ? { again: drawDeath(random, 25) } : {}) };
}

function drawDeath(random: Random, afterMax: number): Death {
  const chance = random();
  return {
    after: between(random, 1, afterMax),
    isWithin: random() < 0.5,
    disk: chance < 0.3 ? "cached" : chance < 0.55 ? "nothing-unsynced" : "any-part-unsynced",
  };
}

/** What stands in entry `number` of a producer. */
export function payloadOf(producer: number, number: number): string {
  return `${producer}-${number}`;
}

/** Event time, ns: mostly rising, some late. */
export function timestampOf(producer: number, number: number): bigint {
  return BigInt((number * 7) % 11 === 0 ? Math.max(0, number - 20) : number + producer);
}

export function severityOf(producer: number, number: number): number {
  return (number * 5 + producer) % (SEVERITIES + 1);
}

export function nameOf(label: number): string {
  return `app-${label}`;
}

/** A history in lines, as a person reads it. */
export function describeHistory({ seed, options, steps }: History): string {
  const lines = steps.map((step, i) => `  ${String(i + 1).padStart(2)}. ${JSON.stringify(step)}`);
  return [`seed ${seed}, options ${JSON.stringify(options)}`, ...lines].join("\n");
}
