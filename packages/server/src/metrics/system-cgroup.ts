// What a container, or a service of systemd, may use, and uses: its control group, of version 2 or 1
// (docs.kernel.org/admin-guide/cgroup-v2.html, …/cgroup-v1/). Without a limit nothing is said of one.
import { counter, gauge } from "./measured-series.ts";
import type { WriteMeasured } from "./system-process.ts";

type ReadFile = (path: string) => string | undefined;

const ROOT = "/sys/fs/cgroup";
const TICKS_PER_SECOND = 100;
/** Version 1 says so when there is no limit: the greatest whole number of pages. */
const UNLIMITED_BYTES = 2 ** 62;

/** undefined: not known, or no limit. */
interface Usage {
  readonly memoryBytes?: number | undefined;
  readonly memoryMaxBytes?: number | undefined;
  readonly cpus?: number | undefined;
  readonly userSeconds?: number | undefined;
  readonly systemSeconds?: number | undefined;
  readonly throttledSeconds?: number | undefined;
}

export function measureCgroup(readFile: ReadFile, write: WriteMeasured): void {
  const groups = parseGroups(readFile("/proc/self/cgroup") ?? "");
  const usage = groups.has("memory") ? usageOfV1(groups, readFile) : usageOfV2(groups.get("") ?? "/", readFile);
  const { memoryBytes, memoryMaxBytes, cpus, userSeconds, systemSeconds, throttledSeconds } = usage;
  if (memoryBytes !== undefined) {
    write("container.memory.usage", gauge("By", "Memory of this server's container or service"), memoryBytes);
  }
  if (memoryMaxBytes !== undefined) {
    write(
      "container.memory.limit",
      gauge("By", "Memory that this server's container or service may use"),
      memoryMaxBytes,
    );
  }
  if (cpus !== undefined) {
    write("container.cpu.limit", gauge("{cpu}", "CPUs that this server's container or service may use"), cpus);
  }
  const time = counter("s", "CPU seconds of this server's container or service");
  if (userSeconds !== undefined) write("container.cpu.time", time, userSeconds, [["cpu.mode", "user"]]);
  if (systemSeconds !== undefined) write("container.cpu.time", time, systemSeconds, [["cpu.mode", "system"]]);
  if (throttledSeconds !== undefined) {
    const facts = counter("s", "Seconds that its threads had to wait, for it had used up its CPU time");
    write("container.cpu.throttled.time", facts, throttledSeconds);
  }
}

/** Paths of /proc/self/cgroup by controller; "": version 2. */
function parseGroups(text: string): ReadonlyMap<string, string> {
  const groups = new Map<string, string>();
  for (const [, controllers = "", path = ""] of text.matchAll(/^\d+:([^:]*):(.*)$/gmu)) {
    for (const controller of controllers.split(",")) groups.set(controller, path);
  }
  return groups;
}

function usageOfV2(path: string, readFile: ReadFile): Usage {
  const read = (name: string): string | undefined => readFile(`${ROOT}${path === "/" ? "" : path}/${name}`);
  const stat = parsePairs(read("cpu.stat"));
  const [quota, period] = (read("cpu.max") ?? "").split(" ").map(Number);
  const seconds = (name: string): number | undefined => scaled(stat.get(name), 1e-6);
  return {
    memoryBytes: numberOf(read("memory.current")),
    memoryMaxBytes: numberOf(read("memory.max")),
    cpus: quota !== undefined && period !== undefined && quota > 0 ? quota / period : undefined,
    // The root has them too, and they are the machine's.
    ...(read("memory.current") === undefined
      ? {}
      : {
          userSeconds: seconds("user_usec"),
          systemSeconds: seconds("system_usec"),
          throttledSeconds: seconds("throttled_usec"),
        }),
  };
}

function usageOfV1(groups: ReadonlyMap<string, string>, readFile: ReadFile): Usage {
  // In a container its own group is mounted where on the machine the root of all is.
  const read = (controller: string, name: string): string | undefined =>
    readFile(`${ROOT}/${controller}${groups.get(controller) ?? ""}/${name}`) ??
    readFile(`${ROOT}/${controller}/${name}`);
  const max = numberOf(read("memory", "memory.limit_in_bytes"));
  const quota = numberOf(read("cpu", "cpu.cfs_quota_us"));
  const period = numberOf(read("cpu", "cpu.cfs_period_us"));
  const times = parsePairs(read("cpuacct", "cpuacct.stat"));
  return {
    memoryBytes: numberOf(read("memory", "memory.usage_in_bytes")),
    memoryMaxBytes: max !== undefined && max < UNLIMITED_BYTES ? max : undefined,
    cpus: quota !== undefined && period !== undefined && quota > 0 ? quota / period : undefined,
    userSeconds: scaled(times.get("user"), 1 / TICKS_PER_SECOND),
    systemSeconds: scaled(times.get("system"), 1 / TICKS_PER_SECOND),
    throttledSeconds: scaled(parsePairs(read("cpu", "cpu.stat")).get("throttled_time"), 1e-9),
  };
}

/** Lines of a name and a number. */
function parsePairs(text = ""): ReadonlyMap<string, number> {
  return new Map([...text.matchAll(/^(\w+) (\d+)$/gmu)].map(([, name = "", value]) => [name, Number(value)]));
}

/** undefined: it is "max", or there is none. */
function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d+\s*$/u.test(text) ? Number(text) : undefined;
}

function scaled(value: number | undefined, scale: number): number | undefined {
  return value === undefined ? undefined : value * scale;
}
