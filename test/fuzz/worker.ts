// A process that runs inputs for main.ts, chunk by chunk. The findings of one chunk never depend on another.
import { performance } from "node:perf_hooks";
import { type CampaignRequest, type Finding, runCampaign, StrayErrors } from "./campaign.ts";
import type { OpenTarget } from "./target.ts";
import { targets } from "./targets.ts";

/** What a worker answers to each `CampaignRequest`. */
export interface ChunkResult {
  readonly finding: Finding | undefined;
  /** In use after garbage collection; measured now and then. */
  readonly heapBytes: number | undefined;
}

const opened = new Map<string, Promise<OpenTarget>>();

function open(name: string): Promise<OpenTarget> {
  const target = targets.find((each) => each.name === name);
  if (target === undefined) throw new Error(`There is no target "${name}"`);
  const known = opened.get(name) ?? target.open();
  opened.set(name, known);
  return known;
}

const MEASURE_EVERY_MS = 3000;
let measuredMs = performance.now();

function heapBytes(): number | undefined {
  if (performance.now() - measuredMs < MEASURE_EVERY_MS) return undefined;
  measuredMs = performance.now();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const strays = new StrayErrors();

process.on("message", (request: CampaignRequest) => {
  void (async () => {
    const finding = await runCampaign(await open(request.name), request, strays);
    const result: ChunkResult = { finding, heapBytes: heapBytes() };
    process.send?.(result);
  })();
});
process.once("disconnect", () => process.exit());
