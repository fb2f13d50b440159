// Which lines belong to the record before them: the rule that docs/guides/log-formats.md states.
//
// G1. Whether a line goes on with a record depends on that record's lines alone: read again from where it began, the same
//     lines make the same records.

/** "none": each line is a record. "traces": see `followsInTrace`. "time": what does not begin with a time goes on. */
export type JoinRule =
  | { readonly kind: "none" | "traces" | "time" }
  /** What does not match goes on. */
  | { readonly kind: "start"; readonly pattern: RegExp };

/** What is known of a record that may go on. */
export interface OpenRecord {
  /** Its first line, as it stands in the entry. */
  readonly message: string;
  /** OpenTelemetry's number; 0: none is known. */
  readonly severityNumber: number;
  /** Lines so far. */
  readonly lines: number;
  /** What the last line was part of. */
  readonly trace: Trace;
}

/** "python": between "Traceback" and the exception. "go": in the list of goroutines. */
export type Trace = "none" | "python" | "go";

/** From WARN on a record may have the exception behind it that it tells of. */
const WARN = 13;
const INDENTED = /^[ \t]/u;
const PYTHON = /^Traceback \(most recent call last\):/u;
const PYTHON_CHAIN =
  /^(?:During handling of the above exception, another exception occurred:|The above exception was the direct cause of the following exception:)/u;
const GOROUTINE = /^goroutine \d+(?: [^[]*)?\[/u;
const GO_FRAME = /^(?:\S+\(.*\)$|created by |exit status \d)/u;
const GO_PANIC = /^(?:panic: |fatal error: )/u;
/** Lines of a trace that are not indented, whatever came before. */
const TRACE_LINE =
  /^(?:Caused by: |Suppressed: |\.\.\. \d+ more|--- End of |#\d+ |Stack trace:|stack backtrace:|note: run with `RUST_BACKTRACE|\[signal SIG)/u;
/** "java.lang.IllegalStateException: no teapot", "TypeError: x is undefined". */
const EXCEPTION =
  /^(?:Exception in thread "[^"]*" )?(?:[\w$]+[.:]{1,2})*[\w$]*(?:Exception|Error|Throwable)(?::|\s*$)/u;
/** The end of what was printed over several lines. */
const CLOSING = /^[\])}]+[,;]?\s*$/u;
const RUST_PANIC = /panicked at .*:$/u;

/**
 * Whether a line goes on with a record that is open, and with which part of a trace.
 * @param isBehindBlank blank lines lie between the two. @returns undefined: it begins a record of its own.
 */
export function followsInTrace(line: string, open: OpenRecord, isBehindBlank: boolean): Trace | undefined {
  const isBad = open.severityNumber >= WARN;
  if (PYTHON.test(line))
    return isBad || PYTHON_CHAIN.test(open.message) || open.trace !== "none" ? "python" : undefined;
  if (GOROUTINE.test(line)) return isBad || open.trace === "go" || GO_PANIC.test(open.message) ? "go" : undefined;
  if (PYTHON_CHAIN.test(line)) return "python";
  if (isBehindBlank) return undefined;
  if (INDENTED.test(line)) return open.trace;
  if (TRACE_LINE.test(line) || (open.lines > 1 && CLOSING.test(line))) return open.trace;
  if (open.trace === "python") return "none"; // the exception itself: the trace's last line
  if (open.trace === "go" && GO_FRAME.test(line)) return "go";
  if (open.lines === 1 && RUST_PANIC.test(open.message)) return "none";
  return open.lines === 1 && isBad && EXCEPTION.test(line) ? "none" : undefined;
}
