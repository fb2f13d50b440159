// The outcome of a scenario: the JSON that is kept, and the table that is printed.
//
// A scenario has one leading case; the form of its JSON is that of DESIGN's bench section. What else it measures is in
// `more`, each case in the same form.

import { cpus, release, totalmem, type } from "node:os";
import { roundFigure, summarize } from "./statistics.ts";

/** Samples of one contestant in one case. */
export interface Measured {
  readonly who: string;
  readonly samples: readonly number[];
}

/** One thing that was measured. */
export interface CaseOutcome {
  readonly title: string;
  readonly unit: string;
  /** Ours first. */
  readonly measured: readonly Measured[];
  /** For what is smaller when better, such as memory: shown beside the ratio. */
  readonly isSmallerBetter?: boolean;
  readonly notes: readonly string[];
}

export interface MissingPeer {
  readonly who: string;
  readonly reason: string;
}

export interface ScenarioOutcome {
  readonly scenario: string;
  /** The leading case first. */
  readonly cases: readonly CaseOutcome[];
  readonly runs: number;
  /** Who or what: version. */
  readonly versions: Readonly<Record<string, string>>;
  readonly missing: readonly MissingPeer[];
  readonly notes: readonly string[];
}

export interface Result {
  readonly who: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: readonly number[];
}

export interface CaseReport {
  readonly case: string;
  readonly unit: string;
  readonly isSmallerBetter: boolean;
  readonly results: readonly Result[];
  /** Peer: our median ÷ the peer's. */
  readonly ratios: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
}

export interface Report extends CaseReport {
  readonly scenario: string;
  readonly machine: Machine;
  readonly versions: Readonly<Record<string, string>>;
  readonly runs: number;
  readonly missing: readonly MissingPeer[];
  readonly more: readonly CaseReport[];
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
}

export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? "unknown",
    cores: cores.length,
    memoryGiB: roundFigure(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
  };
}

/** @throws RangeError when the scenario measured nothing. */
export function makeReport(outcome: ScenarioOutcome, machine: Machine): Report {
  const [leading, ...more] = outcome.cases.map(reportCase);
  if (leading === undefined) throw new RangeError(`Scenario ${outcome.scenario} measured nothing`);
  return {
    scenario: outcome.scenario,
    ...leading,
    machine,
    versions: outcome.versions,
    runs: outcome.runs,
    missing: outcome.missing,
    notes: [...outcome.notes, ...leading.notes],
    more,
  };
}

function reportCase(outcome: CaseOutcome): CaseReport {
  const results = outcome.measured.map(({ who, samples }) => {
    const summary = summarize(samples);
    return {
      who,
      median: roundFigure(summary.median),
      min: roundFigure(summary.min),
      max: roundFigure(summary.max),
      samples: samples.map(roundFigure),
    };
  });
  return {
    case: outcome.title,
    unit: outcome.unit,
    isSmallerBetter: outcome.isSmallerBetter ?? false,
    results,
    ratios: ratiosOf(results),
    notes: outcome.notes,
  };
}

function ratiosOf([ours, ...peers]: readonly Result[]): Record<string, number> {
  if (ours === undefined) return {};
  return Object.fromEntries(peers.map((peer) => [peer.who, roundFigure(ours.median / peer.median)]));
}

/** The report as people read it. */
export function formatReport(report: Report): string {
  const { machine } = report;
  const lines = [
    `${report.scenario}: ${report.runs} runs, ${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}`,
    ...[report, ...report.more].flatMap(formatCase),
    ...report.missing.map(({ who, reason }) => `not measured: ${who}: ${reason}`),
    "",
    `versions: ${Object.entries(report.versions)
      .map(([who, version]) => `${who} ${version}`)
      .join("; ")}`,
  ];
  return `${lines.join("\n")}\n`;
}

function formatCase(report: CaseReport): string[] {
  const header = ["", "median", "min", "max", "ours ÷ peer"];
  const rows = report.results.map((result) => [
    result.who,
    formatFigure(result.median),
    formatFigure(result.min),
    formatFigure(result.max),
    report.ratios[result.who] === undefined ? "" : `${report.ratios[result.who]} ×`,
  ]);
  const better = report.isSmallerBetter ? ", smaller is better" : "";
  return [
    "",
    `${report.case} (${report.unit}${better})`,
    ...formatColumns([header, ...rows]),
    ...report.notes.map((note) => `  - ${note}`),
  ];
}

function formatFigure(value: number): string {
  return value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
}

/** The first column to the left, the others to the right. */
function formatColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  );
}
