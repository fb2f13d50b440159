// This process and its runtime: opentelemetry.io/docs/specs/semconv/system/process-metrics and …/runtime/nodejs-metrics.
//
// P1. What costs something while it is watched (the delay of the event loop: a timer of 10 ms; garbage collection: an observer) is
//     watched from when somebody asks until WATCH_MS after nobody has asked any more.
import { constants, monitorEventLoopDelay, performance, PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8";
import type { Clock, Timer } from "../store/contract.ts";
import { counter, type Facts, gauge, type Labels, share } from "./measured-series.ts";
import { parseKibibytes } from "./system-files.ts";

export type WriteMeasured = (name: string, facts: Facts, value: number, labels?: Labels) => void;

export interface ProcessMetricsOptions {
  readonly clock: Clock;
  readonly readFile: (path: string) => string | undefined;
  readonly write: WriteMeasured;
}

const WATCH_MS = 60_000;
const GC_KINDS: ReadonlyMap<number, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weakcb"],
]);

const CPU_TIME = counter("s", "CPU seconds of this server");
const CPU_SHARE = share("1", "CPUs that this server keeps busy");
const SWITCHES = counter("{context_switch}", "Times that a thread of this server gave up its CPU, or lost it");
const FAULTS = counter("{fault}", "Pages that this server had to wait for, or not");
const HEAP = gauge("By", "Heap in use by this server");
const DELAY = gauge("s", "How late the event loop of this server is, since the last measurement");
const LOOP_TIME = counter("s", "Seconds that the event loop of this server worked, or waited");
const GC_TIME = counter("s", "Seconds that garbage collection took while it was watched");
const GC_COUNT = counter("{collection}", "Garbage collections while they were watched");

interface Watching {
  readonly delay: ReturnType<typeof monitorEventLoopDelay>;
  readonly collections: PerformanceObserver;
  /** Ends it (P1). */
  timer: Timer;
}

export class ProcessMetrics implements Disposable {
  readonly #options: ProcessMetricsOptions;
  readonly #startNs: bigint;
  readonly #collected = new Map<string, { count: number; seconds: number }>();
  #watching: Watching | undefined;
  #askedMs = 0;

  constructor(options: ProcessMetricsOptions) {
    this.#options = options;
    this.#startNs = options.clock.nowNs();
  }

  /** Somebody asks. */
  watch(): void {
    this.#askedMs = this.#options.clock.monotonicMs();
    if (this.#watching !== undefined) return;
    const delay = monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    const collections = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { detail } = entry as typeof entry & { readonly detail: { readonly kind: number } };
        this.#onCollected(detail.kind, entry.duration / 1000);
      }
    });
    collections.observe({ entryTypes: ["gc"] });
    this.#watching = { delay, collections, timer: this.#endLater(WATCH_MS) };
  }

  measure(): void {
    const { write, clock } = this.#options;
    this.#measureProcess(write);
    write("process.uptime", gauge("s", "Since this server was started"), Number(clock.nowNs() - this.#startNs) / 1e9);
    for (const { space_name: space, space_used_size: bytes } of getHeapSpaceStatistics()) {
      write("v8js.memory.heap.used", HEAP, bytes, [["v8js.heap.space.name", space]]);
    }
    const limit = gauge("By", "Heap that this server may use");
    write("v8js.memory.heap.max", limit, getHeapStatistics().heap_size_limit);
    const { active, idle } = performance.eventLoopUtilization();
    write("nodejs.eventloop.time", LOOP_TIME, active / 1000, [["nodejs.eventloop.state", "active"]]);
    write("nodejs.eventloop.time", LOOP_TIME, idle / 1000, [["nodejs.eventloop.state", "idle"]]);
    const busy = share("1", "Share of time that the event loop of this server works", { max: 1 });
    write("nodejs.eventloop.utilization", busy, active / 1000);
    this.#measureWatched(write);
  }

  [Symbol.dispose](): void {
    const watching = this.#watching;
    if (watching === undefined) return;
    this.#watching = undefined;
    watching.timer.cancel();
    watching.delay.disable();
    watching.collections.disconnect();
  }

  #measureProcess(write: WriteMeasured): void {
    const { user, system } = process.cpuUsage();
    write("process.cpu.time", CPU_TIME, user / 1e6, [["cpu.mode", "user"]]);
    write("process.cpu.time", CPU_TIME, system / 1e6, [["cpu.mode", "system"]]);
    write("process.cpu.utilization", CPU_SHARE, (user + system) / 1e6);
    const { involuntaryContextSwitches, voluntaryContextSwitches, majorPageFault, minorPageFault } =
      process.resourceUsage();
    const switches = "process.context_switch.type";
    write("process.context_switches", SWITCHES, voluntaryContextSwitches, [[switches, "voluntary"]]);
    write("process.context_switches", SWITCHES, involuntaryContextSwitches, [[switches, "involuntary"]]);
    write("process.paging.faults", FAULTS, majorPageFault, [["system.paging.fault.type", "major"]]);
    write("process.paging.faults", FAULTS, minorPageFault, [["system.paging.fault.type", "minor"]]);
    write("process.memory.usage", gauge("By", "Resident memory of this server"), process.memoryUsage.rss());
    const status = this.#options.readFile("/proc/self/status");
    if (status === undefined) return;
    const virtual = parseKibibytes(status).get("VmSize");
    if (virtual !== undefined) write("process.memory.virtual", gauge("By", "Address space of this server"), virtual);
    const threads = /^Threads:\s+(\d+)$/mu.exec(status)?.[1];
    if (threads !== undefined)
      write("process.thread.count", gauge("{thread}", "Threads of this server"), Number(threads));
  }

  #measureWatched(write: WriteMeasured): void {
    const { delay } = this.#watching ?? {};
    if (delay !== undefined && delay.count > 0) {
      write("nodejs.eventloop.delay.mean", DELAY, delay.mean / 1e9);
      for (const percentile of [50, 90, 99]) {
        write(`nodejs.eventloop.delay.p${percentile}`, DELAY, delay.percentile(percentile) / 1e9);
      }
      write("nodejs.eventloop.delay.max", DELAY, delay.max / 1e9);
      delay.reset();
    }
    for (const [kind, { count, seconds }] of this.#collected) {
      write("v8js.gc.time", GC_TIME, seconds, [["v8js.gc.type", kind]]);
      write("v8js.gc.collections", GC_COUNT, count, [["v8js.gc.type", kind]]);
    }
  }

  #onCollected(kind: number, seconds: number): void {
    const name = GC_KINDS.get(kind) ?? String(kind);
    const before = this.#collected.get(name) ?? { count: 0, seconds: 0 };
    this.#collected.set(name, { count: before.count + 1, seconds: before.seconds + seconds });
  }

  /** P1. */
  #endLater(waitMs: number): Timer {
    const { clock } = this.#options;
    return clock.setTimer(() => {
      const silentMs = clock.monotonicMs() - this.#askedMs;
      if (silentMs >= WATCH_MS) this[Symbol.dispose]();
      else if (this.#watching !== undefined) this.#watching.timer = this.#endLater(WATCH_MS - silentMs);
    }, waitMs);
  }
}
