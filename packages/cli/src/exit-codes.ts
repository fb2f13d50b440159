// What the process says with its exit code. Scripts rely on these numbers: they are in `sluice --help` and do not change.
import { Code } from "@sluice/client";

export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  unavailable: 3,
  notFound: 4,
  denied: 5,
  damaged: 6,
  limit: 7,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** One line per code, for `--help`. */
export const EXIT_CODE_HELP: readonly (readonly [ExitCode, string])[] = [
  [EXIT.ok, "done; also after Ctrl-C or SIGTERM, once everything was finished cleanly"],
  [EXIT.failure, "failed, for a reason without a code of its own"],
  [EXIT.usage, "the command line, the configuration or the request is wrong"],
  [EXIT.unavailable, "the server cannot be reached, is overloaded or did not answer in time"],
  [EXIT.notFound, "what was asked for is not there"],
  [EXIT.denied, "no right to it"],
  [EXIT.damaged, "stored data does not match its checksum, or entries are missing"],
  [EXIT.limit, "a limit or quota was reached"],
  [EXIT.interrupted, "a second Ctrl-C or SIGTERM: ended at once, unfinished"],
];

/** The exit code for a gRPC status. */
export function exitCodeOfStatus(code: Code): ExitCode {
  switch (code) {
    case Code.OK:
    case Code.CANCELLED:
      return EXIT.ok;
    case Code.INVALID_ARGUMENT:
    case Code.OUT_OF_RANGE:
    case Code.FAILED_PRECONDITION:
    case Code.UNIMPLEMENTED:
      return EXIT.usage;
    case Code.UNAVAILABLE:
    case Code.DEADLINE_EXCEEDED:
      return EXIT.unavailable;
    case Code.NOT_FOUND:
      return EXIT.notFound;
    case Code.PERMISSION_DENIED:
    case Code.UNAUTHENTICATED:
      return EXIT.denied;
    case Code.DATA_LOSS:
      return EXIT.damaged;
    case Code.RESOURCE_EXHAUSTED:
      return EXIT.limit;
    default:
      return EXIT.failure;
  }
}
