// Opens what hands metrics on to other servers, one forwarder for each.
import type { Clock, Timer } from "../store/contract.ts";
import type { Reporter } from "../telemetry/instrument.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Forwarder, forwardReporter, type ForwardSource } from "./forward.ts";
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
}

export interface Forwarding extends AsyncDisposable {
  readonly reporter: Reporter;
}

export function openForward({ targets, intervalMs, refresh, ...options }: OpenForwardRequest): Forwarding {
  const { clock } = options;
  const forwarders = new Map<string, Forwarder>();
  for (const url of targets) {
    const target = url.protocol.startsWith("otlp") ? openOtlpTarget(url) : openRemoteWrite(url, clock);
    forwarders.set(target.name, new Forwarder({ ...options, target }));
  }
  let timer: Timer | undefined;
  const again = (): void => {
    timer = clock.setTimer(() => {
      refresh();
      again();
    }, intervalMs);
  };
  if (targets.length > 0) again();
  return {
    reporter: forwardReporter(forwarders),
    async [Symbol.asyncDispose]() {
      timer?.cancel();
      await Promise.all([...forwarders.values()].map((forwarder) => forwarder[Symbol.asyncDispose]()));
    },
  };
}
