import { expect, test } from "vitest";
import type { Labels } from "./measured-series.ts";
import { measureCgroup } from "./system-cgroup.ts";

/** What is told of a machine with these files. */
function measure(files: Readonly<Record<string, string>>): Record<string, number> {
  const told: Record<string, number> = {};
  const write = (name: string, _: unknown, value: number, labels: Labels = []): void => {
    told[[name, ...labels.map(([, label]) => label)].join(" ")] = value;
  };
  measureCgroup((path) => files[path], write);
  return told;
}

test("a container of version 2 sees its own group at the root", () => {
  const told = measure({
    "/proc/self/cgroup": "0::/\n",
    "/sys/fs/cgroup/memory.current": "1048576\n",
    "/sys/fs/cgroup/memory.max": "4194304\n",
    "/sys/fs/cgroup/cpu.max": "150000 100000\n",
    "/sys/fs/cgroup/cpu.stat":
      "usage_usec 30\nuser_usec 20000000\nsystem_usec 10000000\nnr_throttled 1\nthrottled_usec 500000\n",
  });
  expect(told).toEqual({
    "container.memory.usage": 1_048_576,
    "container.memory.limit": 4_194_304,
    "container.cpu.limit": 1.5,
    "container.cpu.time user": 20,
    "container.cpu.time system": 10,
    "container.cpu.throttled.time": 0.5,
  });
});

test("a service of version 2 is at its path; without a limit there is none", () => {
  const group = "/sys/fs/cgroup/system.slice/sluice.service";
  const told = measure({
    "/proc/self/cgroup": "0::/system.slice/sluice.service\n",
    [`${group}/memory.current`]: "5\n",
    [`${group}/memory.max`]: "max\n",
    [`${group}/cpu.max`]: "max 100000\n",
  });
  expect(told).toEqual({ "container.memory.usage": 5 });
});

test("the machine itself is no container", () => {
  expect(measure({ "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.stat": "user_usec 1\nsystem_usec 1\n" })).toEqual(
    {},
  );
  expect(measure({})).toEqual({});
});

test("version 1 has a tree for each controller, and in a container its own group at the root of each", () => {
  const told = measure({
    "/proc/self/cgroup": "9:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n0::/\n",
    "/sys/fs/cgroup/memory/docker/1f/memory.usage_in_bytes": "7\n",
    "/sys/fs/cgroup/memory/docker/1f/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "/sys/fs/cgroup/cpu/cpu.stat": "nr_periods 1\nnr_throttled 1\nthrottled_time 2000000000\n",
    "/sys/fs/cgroup/cpuacct/cpuacct.stat": "user 300\nsystem 100\n",
  });
  expect(told).toEqual({
    "container.memory.usage": 7,
    "container.cpu.limit": 0.5,
    "container.cpu.time user": 3,
    "container.cpu.time system": 1,
    "container.cpu.throttled.time": 2,
  });
  const unlimited = { "/proc/self/cgroup": "9:memory:/\n3:cpu:/\n", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n" };
  expect(measure({ ...unlimited, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n" })).toEqual({
    "container.memory.limit": 1000,
  });
});
