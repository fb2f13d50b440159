// Opens what hands metrics on to other servers, one forwarder for each.
import type { FileSystem } from "../store/file-system.ts";
import type { Clock, Timer } from "../store/contract.ts";
import type { HistoryLog } from "./history/history-log.ts";
import type { Reporter } from "../telemetry/instrument.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Forwarder, forwardReporter, type ForwardSource } from "./forward.ts";
import { forwardHistory, ForwardPlaces } from "./forward-history.ts";
import { openOtlpTarget } from "./forward-otlp.ts";
import { openRemoteWrite } from "./forward-remote-write.ts";

export interface ForwardSettings {
  /** http, https: remote write; otlp, otlps: OTLP over gRPC. */
  readonly targets: readonly URL[];
  /** How often what is measured here is measured for them. */
  readonly intervalMs: number;
}

export interface OpenForwardRequest extends ForwardSettings {
  readonly source: ForwardSource;
  /** Measures what is measured here. */
  readonly refresh: () => void;
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly logger: Logger;
  /** What targets have missed is read from it; absent: no history is kept. */
  readonly log?: HistoryLog | undefined;
  /** Of metrics: there is written how far each target has got. */
  readonly folder: string;
  readonly fileSystem: FileSystem;
}

export interface Forwarding extends AsyncDisposable {
  readonly reporter: Reporter;
}

/** A crash hands on again what was handed on since. */
const SAVE_MS = 5000;

/** @throws what the file system says */
export async function openForward(request: OpenForwardRequest): Promise<Forwarding> {
  const { targets, intervalMs, refresh, clock, log, logger, ...others } = request;
  const places = log === undefined || targets.length === 0 ? undefined : await ForwardPlaces.open({ ...request, log });
  const history = log === undefined ? undefined : forwardHistory(log);
  const forwarders = new Map<string, Forwarder>();
  for (const url of targets) {
    const target = url.protocol.startsWith("otlp") ? openOtlpTarget(url) : openRemoteWrite(url, clock);
    const found = places?.find(target.name);
    if (found === "lost") {
      const facts = { event: "forward-lost", target: target.name };
      logger.warn(facts, "it is not known what a target has got of metrics: it goes on with what comes now");
    }
    const from = found === "lost" ? undefined : found;
    forwarders.set(target.name, new Forwarder({ ...others, clock, logger, target, history, from }));
  }
  places?.keepOnly(new Set(forwarders.keys()));
  const save = async (): Promise<void> => {
    for (const [name, { place }] of forwarders) places?.note(name, place);
    await places?.save().catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ event: "fault", reason }, "how far metrics were handed on cannot be written");
    });
  };
  await save();
  const timers: Timer[] = [];
  let saving = Promise.resolve();
  if (targets.length > 0) timers.push(every(clock, intervalMs, refresh));
  if (places !== undefined) timers.push(every(clock, SAVE_MS, () => void (saving = saving.then(save))));
  return {
    reporter: forwardReporter(forwarders),
    async [Symbol.asyncDispose]() {
      for (const timer of timers) timer.cancel();
      await Promise.all([...forwarders.values()].map((forwarder) => forwarder[Symbol.asyncDispose]()));
      await saving;
      await save();
    },
  };
}

/** Until it is cancelled. */
function every(clock: Clock, ms: number, work: () => void): Timer {
  let timer: Timer;
  const again = (): void => {
    timer = clock.setTimer(() => {
      again();
      work();
    }, ms);
  };
  again();
  return { cancel: () => timer.cancel() };
}
