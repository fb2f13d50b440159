// What a reader of a log may ask for: filter terms, levels, names, cursors.
//
// Q1. A request is refused by a typed error that names what is wrong, or understood.
// Q2. What is understood selects the entries that the terms select when they are applied plainly.
// Q3. A cursor that is taken is the cursor of its position.
import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema, LogStreamRequestSchema } from "@sluice/api";
import { frameOf } from "@sluice/rpc";
import { SluiceError } from "../../../packages/server/src/errors.ts";
import { DEFAULT_LIMITS } from "../../../packages/server/src/limits.ts";
import { EntryMatcher } from "../../../packages/server/src/logs/matcher.ts";
import { parseLogQuery, type LogQuery } from "../../../packages/server/src/logs/query.ts";
import { matchesPlainly } from "../../../packages/server/src/logs/testing/plain-match.ts";
import { formatCursor, parseCursor, readEpoch } from "../../../packages/server/src/stream/cursor.ts";
import { changeBytes, type Grammar } from "../grammar.ts";
import { Random } from "../random.ts";
import type { Input, Target } from "../target.ts";

const terms: Grammar = {
  cut: (bytes) =>
    bytes
      .toString("latin1")
      .split(/(?<=[\n=~<>"])/)
      .map((part) => Buffer.from(part, "latin1")),
  change: changeBytes,
};

const SAMPLES = [
  create(LogEntrySchema, {
    timestamp: 1_760_000_000_000_000_001n,
    level: "Warning",
    severityNumber: 13,
    application: "shop",
    message: "GET /cart took 35 ms — ok",
    fields: { user: "u-1", took: "35", big: "9007199254740993", empty: "", "a b": "c" },
    lineNumber: 42,
    traceId: Uint8Array.from({ length: 16 }, (_, at) => at),
  }),
  create(LogEntrySchema, { message: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", application: "" }),
  create(LogEntrySchema),
];
const FRAMES = SAMPLES.map((entry) => frameOf(toBinary(LogEntrySchema, entry)));
const DEFAULTS = { hasControls: true, heartbeatMs: 30_000, hasBatches: false };
const PAUSES_MAX = 1000;

function run({ bytes, salt }: Input): void {
  const lines = bytes.toString("utf8").split("\n");
  const random = new Random(salt);
  checkCursor(lines[0] ?? "");
  const request = create(LogStreamRequestSchema, {
    filters: random.oneIn(8) ? lines : [lines[random.below(lines.length)]!],
    logLevel: random.oneIn(8) ? random.pick(lines) : "",
    log: random.oneIn(8) ? random.pick(lines) : "default",
    resumeAfter: random.pick(lines),
  });
  const query = parse(() => parseLogQuery(request, DEFAULT_LIMITS, DEFAULTS));
  if (query !== undefined) checkQuery(query);
}

/** Q1 */
function parse<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof SluiceError && error.message !== "") return undefined;
    throw error;
  }
}

/** Q2 */
function checkQuery(query: LogQuery): void {
  const matcher = new EntryMatcher(query.terms);
  for (const [at, frame] of FRAMES.entries()) {
    let holds: boolean | undefined;
    for (let pauses = 0; holds === undefined; pauses++) {
      if (pauses > PAUSES_MAX) throw new Error("a matcher that never comes to an end");
      holds = matcher.matches(frame, 0, frame.length);
    }
    if (holds !== matchesPlainly(SAMPLES[at]!, query.terms)) throw new Error(`sample ${at}: ${holds}`);
  }
}

/** Q3 */
function checkCursor(text: string): void {
  readEpoch(text);
  const position = parse(() => parseCursor("default", text, "resume_after"));
  if (position !== undefined && formatCursor("default", position) !== text) throw new Error(`cursor ${text}`);
}

const TERMS = [
  "cart",
  "-Cart",
  '"took 35"',
  "user=u-1",
  'user!="u-2"',
  "user!=",
  'empty!=""',
  "took>34.5",
  "big>=9007199254740993",
  "level>=warn",
  "level=INFO2",
  "message~^GET .*(ok|no)$",
  "message!~(?i)post|[a-f]{2,3}\\d+",
  "message~(a|aa)+$",
  '"a b"=c',
  '"a \\"b\\\\"~c',
  "trace_id=000102030405060708090A0B0C0D0E0F",
  "fields.level<1e400",
  "line_number<=42",
];

export const queries: Target = {
  name: "queries",
  about: "filter terms, expressions, levels and cursors",
  weight: 5,
  open: async () => ({
    grammar: terms,
    corpus: [TERMS.join("\n"), ...TERMS, formatCursor("default", { epoch: 3, sequence: 77 })].map((text) =>
      Buffer.from(text),
    ),
    extras: ["(?P<x>a)", "\\pN", "[[:alpha:]]", "x{1000}", "(((", "\\C", "\0", "é", "\u{1f600}", '"', "\\"].map(
      (text) => Buffer.from(text),
    ),
    run,
  }),
};
