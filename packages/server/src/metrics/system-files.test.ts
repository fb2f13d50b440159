import { expect, test } from "vitest";
import {
  parseCpuTimes,
  parseDisks,
  parseKibibytes,
  parseLoad,
  parseMounts,
  parseNetwork,
  parsePressure,
} from "./system-files.ts";

test("CPU times, of all and of each, in seconds", () => {
  const [all, first] = parseCpuTimes(
    "cpu  100 2 50 800 30 1 5 12 0 0\ncpu0 60 1 25 400 15 0 3 6 0 0\nintr 5\nctxt 7\n",
  );
  expect(all?.cpu).toBe("all");
  expect(first?.cpu).toBe("0");
  expect(Object.fromEntries(first?.modes ?? [])).toEqual({
    user: 0.6,
    nice: 0.01,
    system: 0.25,
    idle: 4,
    iowait: 0.15,
    interrupt: 0,
    softirq: 0.03,
    steal: 0.06,
  });
});

test("sizes in kB become bytes; what is no size is left out", () => {
  const sizes = parseKibibytes("MemTotal:       16384 kB\nActive(anon):       4 kB\nHugePages_Total:       0\n");
  expect(Object.fromEntries(sizes)).toEqual({ MemTotal: 16_777_216, "Active(anon)": 4096 });
});

test("disks: bytes from sectors of 512, milliseconds as seconds; only whole disks", () => {
  const text =
    "   8       0 sda 10 1 200 7 20 2 400 9 0 1500 16 0 0 0 0 0 0\n   8       1 sda1 1 0 8 0 0 0 0 0 0 0 0\n";
  expect(parseDisks(text, (device) => device === "sda")).toEqual([
    { device: "sda", reads: 10, readBytes: 102_400, writes: 20, writtenBytes: 204_800, busySeconds: 1.5 },
  ]);
});

test("network interfaces, both directions; a number may stand at the colon", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0:12345 10 1 2 0 0 0 0 678 9 3 4 0 0 0 0
`;
  expect(parseNetwork(text).filter(({ device }) => device !== "lo" && device === "eth0")).toEqual([
    {
      device: "eth0",
      receive: { bytes: 12_345, packets: 10, errors: 1, dropped: 2 },
      transmit: { bytes: 678, packets: 9, errors: 3, dropped: 4 },
    },
  ]);
});

test("pressure: microseconds as seconds", () => {
  const text =
    "some avg10=0.00 avg60=0.12 avg300=0.05 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500\n";
  expect(parsePressure(text)).toEqual([
    { who: "some", seconds: 2.5 },
    { who: "full", seconds: 0.0005 },
  ]);
});

test("load averages; another text is none", () => {
  expect(parseLoad("0.50 1.25 2.00 1/234 5678\n")).toEqual([0.5, 1.25, 2]);
  expect(parseLoad("what\n")).toEqual([]);
});

test("mounts of disks, each device once, spaces undone", () => {
  const text =
    "proc /proc proc rw 0 0\n/dev/vda / ext4 rw 0 0\n/dev/vda /again ext4 rw 0 0\n/dev/vdb /my\\040disk xfs rw 0 0\n/dev/loop3 /snap squashfs ro 0 0\n";
  expect(parseMounts(text)).toEqual([
    { device: "/dev/vda", mountpoint: "/", type: "ext4" },
    { device: "/dev/vdb", mountpoint: "/my disk", type: "xfs" },
  ]);
});
