// What Linux says of itself under /proc and /sys, parsed: man 5 proc, and the kernel's Documentation/accounting/psi.rst.
// Text in, numbers out; a file that is not there, or says something else, gives nothing.

/** Seconds by mode, of one CPU since the machine started. `all`: of all of them together. */
export interface CpuTimes {
  readonly cpu: string;
  readonly modes: ReadonlyMap<string, number>;
}

/** In the order of /proc/stat; guest time is part of user time already. */
const CPU_MODES = ["user", "nice", "system", "idle", "iowait", "interrupt", "softirq", "steal"] as const;
/** Linux on every platform that Node runs on. */
const TICKS_PER_SECOND = 100;
const SECTOR_BYTES = 512;
const KIB = 1024;

export function parseCpuTimes(text: string): CpuTimes[] {
  return [...text.matchAll(/^cpu(\d*) +(.+)$/gmu)].map(([, number = "", rest = ""]) => {
    const ticks = rest.split(" ").map(Number);
    return {
      cpu: number === "" ? "all" : number,
      modes: new Map(CPU_MODES.map((mode, i) => [mode, (ticks[i] ?? 0) / TICKS_PER_SECOND])),
    };
  });
}

/** Of /proc/meminfo, bytes by name; also of /proc/self/status. */
export function parseKibibytes(text: string): ReadonlyMap<string, number> {
  return new Map(
    [...text.matchAll(/^(\w+(?:\(\w+\))?):\s+(\d+) kB$/gmu)].map(([, name = "", size]) => [name, Number(size) * KIB]),
  );
}

export interface DiskCounters {
  readonly device: string;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
  /** Seconds during which something was under way. */
  readonly busySeconds: number;
}

/** Of /proc/diskstats: whole disks, not their partitions, not RAM disks and loops. */
export function parseDisks(text: string, isDisk: (device: string) => boolean): DiskCounters[] {
  return text
    .split("\n")
    .map((line) => line.trim().split(/\s+/u))
    .filter((fields) => fields.length >= 14 && isDisk(fields[2]!))
    .map((fields) => ({
      device: fields[2]!,
      reads: Number(fields[3]),
      readBytes: Number(fields[5]) * SECTOR_BYTES,
      writes: Number(fields[7]),
      writtenBytes: Number(fields[9]) * SECTOR_BYTES,
      busySeconds: Number(fields[12]) / 1000,
    }));
}

export interface NetworkCounters {
  readonly device: string;
  readonly receive: Traffic;
  readonly transmit: Traffic;
}
export interface Traffic {
  readonly bytes: number;
  readonly packets: number;
  readonly errors: number;
  readonly dropped: number;
}

/** Of /proc/net/dev. */
export function parseNetwork(text: string): NetworkCounters[] {
  return [...text.matchAll(/^\s*([^\s:]+):\s*(.+)$/gmu)].map(([, device = "", rest = ""]) => {
    const counts = rest.trim().split(/\s+/u).map(Number);
    const traffic = (at: number): Traffic => ({
      bytes: counts[at] ?? 0,
      packets: counts[at + 1] ?? 0,
      errors: counts[at + 2] ?? 0,
      dropped: counts[at + 3] ?? 0,
    });
    return { device, receive: traffic(0), transmit: traffic(8) };
  });
}

/** Of /proc/pressure/*: seconds in which some, or all, tasks waited. */
export function parsePressure(text: string): readonly { readonly who: string; readonly seconds: number }[] {
  return [...text.matchAll(/^(some|full) .*\btotal=(\d+)$/gmu)].map(([, who = "", total]) => ({
    who,
    seconds: Number(total) / 1e6,
  }));
}

/** Of /proc/loadavg: for 1, 5 and 15 minutes. */
export function parseLoad(text: string): readonly number[] {
  const loads = text.split(" ").slice(0, 3).map(Number);
  return loads.length === 3 && loads.every(Number.isFinite) ? loads : [];
}

/** Mount points of /proc/self/mounts that are on disks, each device once. */
export function parseMounts(
  text: string,
): readonly { readonly device: string; readonly mountpoint: string; readonly type: string }[] {
  const seen = new Set<string>();
  return text
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([device = ""]) => device.startsWith("/dev/") && !device.startsWith("/dev/loop"))
    .filter(([device = ""]) => !seen.has(device) && seen.add(device))
    .map(([device = "", mountpoint = "", type = ""]) => ({ device, mountpoint: unescapeMount(mountpoint), type }));
}

/** Spaces and the like stand as octal numbers. */
function unescapeMount(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/gu, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
