import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { parseExposition, parseExpositionInTurns, type TextFormat } from "./prometheus-text.ts";

/** Name, labels, value, time of each sample. */
function samples(text: string, format: TextFormat = "text"): unknown[] {
  return parseExposition(text, format).flatMap((family) =>
    family.samples.map(({ name, labels, value, timestampNs }) => [
      name,
      Object.fromEntries(labels),
      value,
      ...(timestampNs === undefined ? [] : [timestampNs]),
    ]),
  );
}

/** The example of prometheus.io/docs/instrumenting/exposition_formats. */
const EXAMPLE = String.raw`# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
`;

test("the example of the text format's own page", () => {
  const families = parseExposition(EXAMPLE, "text");
  expect(families.map(({ name, type, help, samples: { length } }) => [name, type, help, length])).toEqual([
    ["http_requests_total", "counter", "The total number of HTTP requests.", 2],
    ["msdos_file_access_time_seconds", "unknown", "", 1],
    ["metric_without_timestamp_and_labels", "unknown", "", 1],
    ["something_weird", "unknown", "", 1],
    ["http_request_duration_seconds", "histogram", "A histogram of the request duration.", 4],
    ["rpc_duration_seconds", "summary", "A summary of the RPC duration in seconds.", 3],
  ]);
  expect(samples(EXAMPLE).slice(0, 5)).toEqual([
    ["http_requests_total", { method: "post", code: "200" }, 1027, 1_395_066_363_000_000_000n],
    ["http_requests_total", { method: "post", code: "400" }, 3, 1_395_066_363_000_000_000n],
    [
      "msdos_file_access_time_seconds",
      { path: String.raw`C:\DIR\FILE.TXT`, error: 'Cannot find file:\n"FILE.TXT"' },
      1.458255915e9,
    ],
    ["metric_without_timestamp_and_labels", {}, 12.47],
    ["something_weird", { problem: "division by zero" }, Number.POSITIVE_INFINITY, -3_982_045_000_000n],
  ]);
});

test("OpenMetrics: units, times in seconds, what belongs to a family by its suffix, exemplars, an end", () => {
  const text = `# TYPE requests counter
# UNIT requests seconds
# HELP requests What \\"came\\".
requests_total{a="b"} 5.0 1520879607.789 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.67 1520879606.5
requests_created{a="b"} 1520430000.123
# TYPE build info
build_info{version="1"} 1
# TYPE sizes gaugehistogram
sizes_bucket{le="+Inf"} 4 # {} 3
sizes_gcount 4
sizes_gsum 9
# EOF
`;
  const [requests, build, sizes, ...others] = parseExposition(text, "openmetrics");
  expect(others).toEqual([]);
  expect(requests).toMatchObject({ name: "requests", type: "counter", unit: "seconds", help: 'What "came".' });
  expect(requests?.samples).toMatchObject([
    {
      name: "requests_total",
      value: 5,
      timestampNs: 1_520_879_607_789_000_000n,
      exemplar: {
        labels: [["trace_id", "0af7651916cd43dd8448eb211c80319c"]],
        value: 0.67,
        timestampNs: 1_520_879_606_500_000_000n,
      },
    },
    { name: "requests_created", value: 1520430000.123 },
  ]);
  expect([build?.type, build?.samples.length, sizes?.type, sizes?.samples.length]).toEqual([
    "info",
    1,
    "gaugehistogram",
    3,
  ]);
  expect(sizes?.samples[0]?.exemplar).toEqual({ labels: [], value: 3, timestampNs: undefined });
});

test("names in UTF-8 stand in quotes; spaces, tabs and carriage returns are nothing; a comma may be last", () => {
  const text = `# HELP "http.requests" How many\r\n# TYPE "http.requests" counter\r\n{"http.requests", "http.method"="GET",} 3\r\n\t a { b = "c" , }\t4 \n`;
  expect(samples(text)).toEqual([
    ["http.requests", { "http.method": "GET" }, 3],
    ["a", { b: "c" }, 4],
  ]);
  expect(parseExposition(text, "text")[0]).toMatchObject({ name: "http.requests", type: "counter", help: "How many" });
});

test("samples of a family that come apart are one family", () => {
  const text = '# TYPE h histogram\nh_bucket{le="+Inf"} 1\nother 1\nh_count 1\nh_sum 2\n';
  expect(parseExposition(text, "text").map(({ name, samples: { length } }) => [name, length])).toEqual([
    ["h", 3],
    ["other", 1],
  ]);
});

test.each(["NaN", "nan", "+Inf", "-Inf", "inf", "1e3", "-.5", "+1.", "0"])("%s is a value", (text) => {
  const [[, , value]] = samples(`a ${text}\n`) as [[string, object, number]];
  const expected: Readonly<Record<string, number>> = { "+Inf": Infinity, "-Inf": -Infinity, inf: Infinity };
  expect(value).toBe(expected[text] ?? Number(text.replace(/nan/iu, "NaN")));
});

test.each([
  ["no value", "a\n", "line 1", "is no value"],
  ["a word as value", "a 1\nb x1\n", "line 2", '"x1" is no value'],
  ["a hexadecimal one", "a 0x10\n", "line 1", '"0x10" is no value'],
  ["labels without end", 'a{b="c" 1\n', "line 1", "labels are not ended"],
  ["a text without end", 'a{b="c} 1\n', "line 1", "no end"],
  ["a label without quotes", "a{b=c} 1\n", "line 1", 'the value of the label "b" is not in quotes'],
  ["a label twice", 'a{b="1",b="2"} 1\n', "line 1", 'the label "b" is there twice'],
  ["no name", '{b="1"} 1\n', "line 1", "it must have one name"],
  ["two names", '{"a","b"} 1\n', "line 1", 'the label "b" has no value'],
  ["a time of seconds", "a 1 1.5\n", "line 1", '"1.5" is no timestamp in milliseconds'],
  ["something behind", "a 1 2 3\n", "line 1", "something behind the sample"],
  ["an unknown type", "# TYPE a thing\n", "line 1", '"thing" is no type'],
])("%s is wrong, and where is said", (_, text, line, why) => {
  expect(() => parseExposition(text, "text")).toThrow(line);
  expect(() => parseExposition(text, "text")).toThrow(why);
});

test("OpenMetrics without its end, or with something behind it, is wrong", () => {
  expect(() => parseExposition("a 1\n", "openmetrics")).toThrow("line 2: the text ends without # EOF");
  expect(() => parseExposition("a 1\n# EOF\nb 1\n", "openmetrics")).toThrow("line 3: something behind # EOF");
  expect(samples("# EOF\na 1\n")).toEqual([["a", {}, 1]]);
});

const label = fc.tuple(fc.stringMatching(/^[a-z]{1,6}$/u), fc.string({ unit: "grapheme", maxLength: 12 }));
const sample = fc.record({
  name: fc.oneof(
    fc.stringMatching(/^[a-z:_][a-z0-9:_]{0,8}$/u),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }),
  ),
  labels: fc.uniqueArray(label, { selector: ([name]) => name, maxLength: 4 }),
  value: fc.oneof(fc.double(), fc.integer()),
  ms: fc.option(fc.integer({ min: 0, max: 2 ** 42 }), { nil: undefined }),
});
const quote = (text: string): string =>
  `"${text
    .replaceAll("\\", String.raw`\\`)
    .replaceAll("\n", String.raw`\n`)
    .replaceAll('"', String.raw`\"`)}"`;
const goFloat = (value: number): string =>
  Number.isFinite(value) || Number.isNaN(value)
    ? Object.is(value, -0)
      ? "-0"
      : String(value)
    : value > 0
      ? "+Inf"
      : "-Inf";

test("whatever is written is read as it was, whole or in turns", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(sample, { maxLength: 8 }), async (all) => {
      const text = all
        .map(({ name, labels, value, ms }) => {
          const pairs = labels.map(([key, each]) => `${key}=${quote(each)}`);
          return `{${[quote(name), ...pairs].join(",")}} ${goFloat(value)}${ms === undefined ? "" : ` ${ms}`}\n`;
        })
        .join("");
      const expected = all.map(({ name, labels, value, ms }) => ({
        name,
        labels,
        value,
        timestampNs: ms === undefined ? undefined : BigInt(ms) * 1_000_000n,
        exemplar: undefined,
      }));
      const found = parseExposition(text, "text").flatMap((family) => family.samples);
      const byText = (list: readonly object[]): string[] =>
        list.map((each) => JSON.stringify(each, (_, v: unknown) => (typeof v === "bigint" ? String(v) : v))).toSorted();
      expect(byText(found)).toEqual(byText(expected));
      const inTurns = (await parseExpositionInTurns(text, "text")).flatMap((family) => family.samples);
      expect(inTurns).toEqual(found);
    }),
    { numRuns: Math.ceil(200 * inject("propertyScale")) },
  );
});

test("garbage is read or refused with the line, and nothing else", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.constantFrom<TextFormat>("text", "openmetrics"),
      (text, format) => {
        try {
          parseExposition(text, format);
        } catch (error) {
          expect((error as Error).message).toMatch(/^line \d+: /u);
        }
      },
    ),
    { numRuns: Math.ceil(500 * inject("propertyScale")) },
  );
});
