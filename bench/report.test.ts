import { expect, test } from "vitest";
import { formatReport, makeReport, type ScenarioOutcome } from "./report.ts";

const machine = { cpu: "A CPU", cores: 2, memoryGiB: 24, system: "Linux 6" };
const outcome: ScenarioOutcome = {
  scenario: "unary",
  runs: 3,
  versions: { sluice: "0.1.0", "grpc-js": "1.14.7" },
  missing: [{ who: "tonic", reason: "no cargo on this machine" }],
  notes: ["the client is h2load"],
  cases: [
    {
      title: "1 connection × 100",
      unit: "calls/s",
      measured: [
        { who: "sluice", samples: [90_000, 100_000, 110_000] },
        { who: "grpc-js", samples: [9000, 10_000, 8000] },
      ],
      notes: ["warmed up"],
    },
    {
      title: "memory",
      unit: "bytes",
      isSmallerBetter: true,
      measured: [
        { who: "sluice", samples: [1000] },
        { who: "grpc-js", samples: [4000] },
      ],
      notes: [],
    },
  ],
};

test("the leading case is the report, the others are in `more`", () => {
  const report = makeReport(outcome, machine);
  expect(report).toEqual({
    scenario: "unary",
    case: "1 connection × 100",
    unit: "calls/s",
    isSmallerBetter: false,
    machine,
    versions: outcome.versions,
    runs: 3,
    results: [
      { who: "sluice", median: 100_000, min: 90_000, max: 110_000, samples: [90_000, 100_000, 110_000] },
      { who: "grpc-js", median: 9000, min: 8000, max: 10_000, samples: [9000, 10_000, 8000] },
    ],
    ratios: { "grpc-js": 11.11 },
    missing: outcome.missing,
    notes: ["the client is h2load", "warmed up"],
    more: [
      {
        case: "memory",
        unit: "bytes",
        isSmallerBetter: true,
        results: [
          { who: "sluice", median: 1000, min: 1000, max: 1000, samples: [1000] },
          { who: "grpc-js", median: 4000, min: 4000, max: 4000, samples: [4000] },
        ],
        ratios: { "grpc-js": 0.25 },
        notes: [],
      },
    ],
  });
});

test("the table lines up, with ratios, versions and who is missing", () => {
  expect(formatReport(makeReport(outcome, machine))).toBe(`unary: 3 runs, 2 × A CPU, 24 GiB, Linux 6

1 connection × 100 (calls/s)
          median     min      max  ours ÷ peer
sluice   100,000  90,000  110,000
grpc-js    9,000   8,000   10,000      11.11 ×
  - the client is h2load
  - warmed up

memory (bytes, smaller is better)
         median    min    max  ours ÷ peer
sluice    1,000  1,000  1,000
grpc-js   4,000  4,000  4,000       0.25 ×
not measured: tonic: no cargo on this machine

versions: sluice 0.1.0; grpc-js 1.14.7
`);
});

test("a scenario that measured nothing has no report", () => {
  expect(() => makeReport({ ...outcome, cases: [] }, machine)).toThrow("unary measured nothing");
});
