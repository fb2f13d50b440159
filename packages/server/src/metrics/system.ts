// The machine and this process as metrics: OpenTelemetry's names (opentelemetry.io/docs/specs/semconv/system), and the short
// ones `cpu`, `memory`, `disk`, `network`, `load`, each one number that says how it is now.
//
// Y1. Measured only when somebody is about to be told of it, and not more often than some times a second (measured-series.ts).
// Y2. No process is started. What may wait for a disk or a network (the space of file systems) is asked for beside, and is
//     as old as the answer.
import { readdirSync, readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { availableParallelism, cpus, freemem, loadavg, totalmem } from "node:os";
import type { Clock } from "../store/contract.ts";
import { counter, type Facts, gauge, type Labels, MeasuredSeries, share } from "./measured-series.ts";
import type { SeriesTable } from "./series.ts";
import { measureCgroup } from "./system-cgroup.ts";
import {
  type CpuTimes,
  parseCpuTimes,
  parseDisks,
  parseKibibytes,
  parseLoad,
  parseMounts,
  parseNetwork,
  parsePressure,
} from "./system-files.ts";
import { ProcessMetrics } from "./system-process.ts";

/** Reads a file of /proc or /sys; undefined: it is not there. */
export type ReadSystemFile = (path: string) => string | undefined;

export interface SystemMetricsOptions {
  readonly table: SeriesTable;
  readonly clock: Clock;
  readonly readFile?: ReadSystemFile;
}

/** `SeriesDescription.origin` of all of them. */
export const SYSTEM_ORIGIN = "system";
const SPACE_MS = 5_000;

const CPU_TIME = counter("s", "Seconds that a CPU was in a mode, since the machine started");
const CPU_SHARE = share("1", "Share of time that a CPU was in a mode", { max: 1 });
const MEMORY = gauge("By", "Memory by what it is used for");
const DISK_IO = counter("By", "Bytes read from and written to a disk");
const DISK_OPERATIONS = counter("{operation}", "Reads and writes of a disk");
const NETWORK_IO = counter("By", "Bytes received and sent by a network interface");
const SPACE = gauge("By", "Space of a file system by what becomes of it");

export class SystemMetrics implements Disposable {
  readonly #series: MeasuredSeries;
  readonly #clock: Clock;
  readonly #readFile: ReadSystemFile;
  readonly #process: ProcessMetrics;
  #spaceMs = -Infinity;

  constructor({ table, clock, readFile = readIfThere }: SystemMetricsOptions) {
    this.#series = new MeasuredSeries({ table, clock, origin: SYSTEM_ORIGIN });
    this.#clock = clock;
    this.#readFile = readFile;
    this.#process = new ProcessMetrics({ clock, readFile, write: (...point) => this.#write(...point) });
    this.#measure();
  }

  /** Measures for the history: nothing is begun for it that would cost an idle server a timer. */
  sample(): void {
    if (this.#series.isDue(() => true)) this.#measure();
  }

  /** Measures now, if a metric of it is asked for and it has not just been done. */
  refresh(matchesName: (name: string) => boolean): void {
    if (!this.#series.isDue(matchesName)) return;
    this.#process.watch();
    this.#measure();
  }

  #measure(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#series.begin();
    this.#measureCpu();
    this.#measureMemory();
    this.#measureDisks();
    this.#measureNetwork();
    this.#measurePressure();
    measureCgroup(this.#readFile, (...point) => this.#write(...point));
    this.#process.measure();
    if (nowMs - this.#spaceMs >= SPACE_MS) {
      this.#spaceMs = nowMs;
      void this.#measureSpace();
    }
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]();
  }

  #write(name: string, facts: Facts, value: number, labels: Labels = []): void {
    this.#series.write(name, facts, value, labels);
  }

  #measureCpu(): void {
    const stat = this.#readFile("/proc/stat");
    const times = stat === undefined ? timesOfNode() : parseCpuTimes(stat);
    const count = Math.max(1, times.length - 1);
    for (const { cpu, modes } of times) {
      if (cpu === "all") {
        const total = [...modes.values()].reduce((sum, seconds) => sum + seconds, 0);
        const busy = total - (modes.get("idle") ?? 0) - (modes.get("iowait") ?? 0);
        this.#write("cpu", share("%", "How busy all CPUs are", { scale: 100 / count, max: 100 }), busy);
        continue;
      }
      for (const [mode, seconds] of modes) {
        const labels: Labels = [
          ["cpu.logical_number", cpu],
          ["cpu.mode", mode],
        ];
        this.#write("system.cpu.time", CPU_TIME, seconds, labels);
        this.#write("system.cpu.utilization", CPU_SHARE, seconds, labels);
      }
    }
    this.#write("system.cpu.logical.count", gauge("{cpu}", "CPUs"), availableParallelism());
    const text = this.#readFile("/proc/loadavg");
    const loads = text === undefined ? loadavg() : parseLoad(text);
    for (const [i, minutes] of ["1m", "5m", "15m"].entries()) {
      const load = loads[i];
      if (load === undefined) continue;
      const description = `Tasks that run or wait to, averaged over ${minutes}`;
      this.#write(`system.cpu.load_average.${minutes}`, gauge("{thread}", description), load);
      if (i === 0) this.#write("load", gauge("{thread}", description), load);
    }
  }

  #measureMemory(): void {
    const text = this.#readFile("/proc/meminfo");
    const sizes = text === undefined ? memoryOfNode() : parseKibibytes(text);
    const size = (name: string): number => sizes.get(name) ?? 0;
    const total = size("MemTotal");
    if (total === 0) return;
    const cached = size("Cached") + size("SReclaimable");
    const states = {
      free: size("MemFree"),
      buffers: size("Buffers"),
      cached,
      used: Math.max(0, total - size("MemFree") - size("Buffers") - cached),
    };
    for (const [state, bytes] of Object.entries(states)) {
      this.#write("system.memory.usage", MEMORY, bytes, [["system.memory.state", state]]);
      const share = gauge("1", "Share of memory by what it is used for");
      this.#write("system.memory.utilization", share, bytes / total, [["system.memory.state", state]]);
    }
    this.#write("system.memory.limit", gauge("By", "Memory of the machine"), total);
    const used = 100 * (1 - size("MemAvailable") / total);
    this.#write("memory", gauge("%", "Memory that programs could not have"), used);
    if (size("SwapTotal") === 0) return;
    const swapped = { free: size("SwapFree"), used: size("SwapTotal") - size("SwapFree") };
    for (const [state, bytes] of Object.entries(swapped)) {
      this.#write("system.paging.usage", gauge("By", "Swap space by state"), bytes, [["system.paging.state", state]]);
    }
  }

  #measureDisks(): void {
    const text = this.#readFile("/proc/diskstats");
    if (text === undefined) return;
    for (const disk of parseDisks(text, isWholeDisk)) {
      const of = (direction: string): Labels => [
        ["disk.io.direction", direction],
        ["system.device", disk.device],
      ];
      this.#write("system.disk.io", DISK_IO, disk.readBytes, of("read"));
      this.#write("system.disk.io", DISK_IO, disk.writtenBytes, of("write"));
      this.#write("system.disk.operations", DISK_OPERATIONS, disk.reads, of("read"));
      this.#write("system.disk.operations", DISK_OPERATIONS, disk.writes, of("write"));
      const busy = counter("s", "Seconds during which a disk had something to do");
      this.#write("system.disk.io_time", busy, disk.busySeconds, [["system.device", disk.device]]);
    }
  }

  #measureNetwork(): void {
    const text = this.#readFile("/proc/net/dev");
    if (text === undefined) return;
    let total = 0;
    for (const { device, ...directions } of parseNetwork(text)) {
      for (const [direction, { bytes, packets, errors, dropped }] of Object.entries(directions)) {
        const labels: Labels = [
          ["network.interface.name", device],
          ["network.io.direction", direction],
        ];
        this.#write("system.network.io", NETWORK_IO, bytes, labels);
        this.#write("system.network.packet.count", counter("{packet}", "Packets"), packets, labels);
        this.#write("system.network.errors", counter("{error}", "Packets with errors"), errors, labels);
        this.#write("system.network.packet.dropped", counter("{packet}", "Packets dropped"), dropped, labels);
        if (device !== "lo") total += bytes;
      }
    }
    this.#write("network", share("By/s", "Bytes received and sent, a second, without the loopback"), total);
  }

  #measurePressure(): void {
    for (const resource of ["cpu", "memory", "io"]) {
      for (const { who, seconds } of parsePressure(this.#readFile(`/proc/pressure/${resource}`) ?? "")) {
        const facts = counter("s", `Seconds during which tasks waited for ${resource}`);
        const labels: Labels = [["system.linux.pressure.tasks", who]];
        this.#write(`system.linux.pressure.${resource}.time`, facts, seconds, labels);
      }
    }
  }

  /** Y2. */
  async #measureSpace(): Promise<void> {
    const mounts = parseMounts(this.#readFile("/proc/self/mounts") ?? "");
    const wanted = mounts.length > 0 ? mounts : [{ device: "", mountpoint: "/", type: "" }];
    const spaces = await Promise.allSettled(wanted.map(({ mountpoint }) => statfs(mountpoint)));
    let fullest = 0;
    for (const [i, { device, mountpoint, type }] of wanted.entries()) {
      const found = spaces[i]!;
      if (found.status === "rejected" || found.value.blocks === 0) continue;
      const { bsize, blocks, bfree, bavail } = found.value;
      for (const [state, count] of Object.entries({ used: blocks - bfree, free: bavail, reserved: bfree - bavail })) {
        this.#write("system.filesystem.usage", SPACE, count * bsize, [
          ["system.device", device],
          ["system.filesystem.mountpoint", mountpoint],
          ["system.filesystem.state", state],
          ["system.filesystem.type", type],
        ]);
      }
      fullest = Math.max(fullest, (100 * (blocks - bfree)) / (blocks - bfree + bavail));
    }
    this.#write("disk", gauge("%", "How full the fullest file system is"), fullest);
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** Disks have a folder in /sys/block; their partitions have none. */
function isWholeDisk(device: string): boolean {
  return !/^(?:loop|ram|zram)\d/u.test(device) && wholeDisks().has(device);
}

let disks: ReadonlySet<string> | undefined;
function wholeDisks(): ReadonlySet<string> {
  if (disks !== undefined) return disks;
  try {
    disks = new Set(readdirSync("/sys/block"));
  } catch {
    disks = new Set();
  }
  return disks;
}

/** Where there is no /proc. */
function timesOfNode(): CpuTimes[] {
  const each = cpus().map(({ times }, i) => ({
    cpu: String(i),
    modes: new Map(
      Object.entries(times).map(([mode, ms]) => [
        mode === "sys" ? "system" : mode === "irq" ? "interrupt" : mode,
        ms / 1000,
      ]),
    ),
  }));
  const sum = new Map<string, number>();
  for (const { modes } of each) for (const [mode, seconds] of modes) sum.set(mode, (sum.get(mode) ?? 0) + seconds);
  return [{ cpu: "all", modes: sum }, ...each];
}

function memoryOfNode(): ReadonlyMap<string, number> {
  return new Map([
    ["MemTotal", totalmem()],
    ["MemFree", freemem()],
    ["MemAvailable", freemem()],
  ]);
}
