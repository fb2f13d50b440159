// What a scenario is, and what it may use.

import type { Entrant, Contestant, Server } from "./contest.ts";
import type { MissingPeer, ScenarioOutcome } from "./report.ts";

export interface ScenarioContext {
  /** Fewer and shorter runs: to see that all works, and roughly how fast. */
  readonly isQuick: boolean;
  /** Measured runs of each contestant. */
  readonly runs: number;
  /** The stored entries as frames; the same bytes for all. */
  readonly entriesFile: string;
  /** Removed with all that is in it when the scenario has ended. */
  readonly folder: string;
  /** Says on stderr how far it is. */
  say(text: string): void;
}

export interface Scenario {
  readonly name: string;
  /** One line for `list`. */
  readonly summary: string;
  run(context: ScenarioContext): Promise<ScenarioOutcome>;
}

/** Parts those who can take part from those who cannot. */
export function partEntrants(entrants: readonly Entrant[]): { contestants: Contestant[]; missing: MissingPeer[] } {
  const contestants = entrants.flatMap((entrant) => (entrant.kind === "ready" ? [entrant.contestant] : []));
  const missing = entrants.flatMap((entrant) =>
    entrant.kind === "missing" ? [{ who: entrant.who, reason: entrant.reason }] : [],
  );
  return { contestants, missing };
}

export function versionsOf(servers: readonly Server[]): Record<string, string> {
  return Object.fromEntries(servers.map(({ who, process }) => [who, process.version]));
}
