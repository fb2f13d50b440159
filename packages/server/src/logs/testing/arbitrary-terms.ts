// Filter terms of all kinds, for tests that want any.
import fc from "fast-check";

const words = fc.constantFrom(
  "timed out",
  "connection refused",
  "myapp",
  "x",
  "é",
  "ä€😀",
  "INFO",
  "error3",
  "0",
  "1",
  "timed",
  "refused",
  "xxxxxxxx",
);
const keys = fc.constantFrom(
  "myapp",
  "x",
  "message",
  "level",
  "application",
  "line_number",
  "trace_id",
  "timestamp",
  "fields.level",
);
/** One term of a request, as its text; many of them match some entry of `arbitrary-entries.ts`. */
export const arbitraryTerm: fc.Arbitrary<string> = fc.oneof(
  words,
  words.map((word) => `-${word}`),
  fc.tuple(keys, fc.constantFrom("=", "!=", "~", "!~"), words).map((parts) => parts.join("")),
  fc
    .tuple(
      fc.constantFrom("x", "line_number", "timestamp", "severity_number", "trace_flags"),
      fc.constantFrom(">", ">=", "<", "<="),
      fc.integer(),
    )
    .map((parts) => parts.join("")),
  fc
    .tuple(fc.constantFrom("level>=", "level<", "level=", "level!="), fc.constantFrom("warn", "info2", "FATAL"))
    .map((parts) => parts.join("")),
);
