import { expect, test } from "vitest";
import { parseH2load, verifyLoad } from "./h2load.ts";

const output = `starting benchmark...
spawning thread #0: 1 total client(s). 80000 total requests
Application protocol: h2c
progress: 100% done

finished in 812.5ms, 98461.54 req/s, 13.81MB/s
requests: 80000 total, 80000 started, 80000 done, 80000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 80000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 11.22MB (11760052) total, 1.60MB (1680000) headers (space savings 66.67%), 8.01MB (8400000) data
                     min         max         mean         sd        +/- sd
time for request:      130us     12.01ms       982us       301us    84.10%
time for connect:       95us        95us        95us         0us   100.00%
`;

test("the summary is read", () => {
  expect(parseH2load(output)).toEqual({
    seconds: 0.8125,
    requests: { total: 80_000, succeeded: 80_000 },
    statusOk: 80_000,
    dataBytes: 8_400_000,
  });
});

test.each([
  ["123us", 123e-6],
  ["22.50s", 22.5],
  ["1m", 60],
])("a run that took %s took %f seconds", (text, seconds) => {
  expect(parseH2load(output.replace("812.5ms", text)).seconds).toBeCloseTo(seconds, 9);
});

test("anything else is an error that shows it", () => {
  expect(() => parseH2load("Unrecognized option")).toThrow(/Unrecognized option/);
});

test("a failed request, a status, missing or surplus bytes make a run invalid", () => {
  const expected = { requests: 80_000, dataBytes: 8_400_000 };
  verifyLoad(parseH2load(output), expected);
  const failed = output.replace("80000 succeeded, 0 failed", "79999 succeeded, 1 failed");
  expect(() => verifyLoad(parseH2load(failed), expected)).toThrow("79999 of 80000 requests succeeded");
  const redirected = output.replace("80000 2xx, 0 3xx", "79000 2xx, 1000 3xx");
  expect(() => verifyLoad(parseH2load(redirected), expected)).toThrow("79000 with a 2xx status");
  expect(() => verifyLoad(parseH2load(output), { ...expected, dataBytes: 8_400_001 })).toThrow("8400000 bytes");
});
