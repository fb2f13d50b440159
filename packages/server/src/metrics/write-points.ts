// Writes points that are whole, each with what its series is: what remote write, WriteMetrics and scrapes bring.
import { findProblem, type IncomingPoint, keyOf, type Refusal, refusalOf } from "./incoming.ts";
import type { MetricIntake } from "./intake.ts";
import type { SeriesGuard } from "./series-guard.ts";

/** Points of one request. */
export interface PointBatch {
  /** undefined: it is taken, or was there already. @param key of it, where it is known */
  write(incoming: IncomingPoint, key?: string): Refusal | undefined;
  /** A series has no value any more. */
  end(key: string, timestampNs: bigint): void;
  /** Resolves when everything is durable. To be called once. @throws what the store says */
  commit(): Promise<void>;
}

export class PointWriter {
  readonly #intake: MetricIntake;
  readonly #guard: SeriesGuard;

  constructor(intake: MetricIntake, guard: SeriesGuard) {
    this.#intake = intake;
    this.#guard = guard;
  }

  /** @param owner whose series new ones are; undefined: the server's own */
  begin(owner: string | undefined): PointBatch {
    const batch = this.#intake.begin();
    return {
      write: (incoming, key = keyOf(incoming)) => {
        const { name, labels, point, isEnd } = incoming;
        const problem = findProblem(name, labels, point.timestampNs);
        if (problem !== undefined) return problem;
        if (isEnd) {
          batch.end(key, point.timestampNs);
          return undefined;
        }
        const verdict =
          this.#guard.findRefusal(owner, key, name) ?? batch.write(key, point, () => descriptionOf(incoming, owner));
        if (typeof verdict === "string") return undefined;
        const refusal = refusalOf(name, verdict);
        return verdict.reason === "limit" ? { ...refusal, text: this.#guard.explain(name, refusal.text) } : refusal;
      },
      end: (key, timestampNs) => batch.end(key, timestampNs),
      commit: () => batch.commit(),
    };
  }
}

function descriptionOf({ name, type, unit, description, labels, origin }: IncomingPoint, owner: string | undefined) {
  return { name, type, unit, description, labels, origin, ...(owner === undefined ? {} : { owner }) };
}
