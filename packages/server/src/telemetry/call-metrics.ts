// Calls by method and code, counted as they come and go (opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics).
//
// C1. A call allocates nothing here: those of a method share an observer. Methods and codes are few, so that what is kept is bounded.
// C2. What a stream of ready frames costs here does not depend on how many messages they are (benchmark `logs-follow`): messages
//     are counted as they are received, bytes both ways.
import type { DescMethod } from "@bufbuild/protobuf";
import { type CallObserver, Code, codeName, type Observe } from "@sluice/rpc";
import { Durations } from "./durations.ts";
import type { Instrument, Report, Reporter } from "./instrument.ts";

/** Seconds: the conventions' bounds, and below them what a call takes that stays in memory. */
const BOUNDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 60, 600,
];

const instrument = (name: string, type: Instrument["type"], unit: string, description: string): Instrument => {
  return { name, type, unit, description };
};
const DURATION = instrument("rpc.server.call.duration", "histogram", "s", "How long calls took, from their headers on");
const OPEN = instrument("sluice.calls.open", "gauge", "{call}", "Calls that are open, streams among them");
const RECEIVED = instrument("sluice.calls.received", "counter", "{message}", "Messages received in calls");
const BYTES = instrument("sluice.calls.io", "counter", "By", "Bytes of the messages of calls, as they lie on the wire");

export class CallMetrics implements Reporter {
  readonly instruments = [DURATION, OPEN, RECEIVED, BYTES];
  readonly #methods = new Map<DescMethod, MethodCounts>();

  /** For `createServer`: counts every call. */
  readonly observe: Observe = ({ method }) => {
    let counts = this.#methods.get(method);
    if (counts === undefined) this.#methods.set(method, (counts = new MethodCounts()));
    counts.open++;
    return counts;
  };

  report(report: Report): void {
    for (const [{ parent, name }, counts] of this.#methods) {
      const labels = { "rpc.method": `${parent.typeName}/${name}`, "rpc.system.name": "grpc" };
      report(OPEN, counts.open, labels);
      report(RECEIVED, counts.receivedMessages, labels);
      report(BYTES, counts.receivedBytes, { ...labels, "network.io.direction": "receive" });
      report(BYTES, counts.wroteBytes, { ...labels, "network.io.direction": "transmit" });
      for (const [code, durations] of counts.durations) {
        report(DURATION, durations, { ...labels, "rpc.response.status_code": codeName(code) });
      }
    }
  }
}

class MethodCounts implements CallObserver {
  open = 0;
  receivedMessages = 0;
  receivedBytes = 0;
  wroteBytes = 0;
  readonly durations = new Map<Code, Durations>();

  received(messages: number, bytes: number): void {
    this.receivedMessages += messages;
    this.receivedBytes += bytes;
  }

  wrote(bytes: number): void {
    this.wroteBytes += bytes;
  }

  ended(code: Code, durationMs: number): void {
    this.open--;
    let durations = this.durations.get(code);
    if (durations === undefined) this.durations.set(code, (durations = new Durations(BOUNDS)));
    durations.add(durationMs / 1000);
  }
}

/** Two observers as one. */
export function observeBoth(first: Observe, second: Observe): Observe {
  return (call) => {
    const both = [first(call), second(call)];
    return {
      received: (messages, bytes) => both.forEach((each) => each?.received?.(messages, bytes)),
      wrote: (bytes) => both.forEach((each) => each?.wrote?.(bytes)),
      ended: (code, durationMs) => both.forEach((each) => each?.ended?.(code, durationMs)),
    };
  };
}
