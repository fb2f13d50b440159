// Errors of a server in this process, in words of the command line.
import { ConfigError, SluiceError } from "@sluice/server";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { CommandFailure } from "../output.ts";

/** A failure that says what to do; what nobody foresaw is handed back as it is. */
export function toServerFailure(error: unknown): unknown {
  if (error instanceof ConfigError) {
    const [only] = error.problems;
    const message =
      error.problems.length === 1 ? only : ["the configuration is wrong:", ...error.problems].join("\n  ");
    return new CommandFailure(message ?? error.message, { exitCode: EXIT.usage, cause: error });
  }
  if (error instanceof SluiceError)
    return new CommandFailure(error.message, { exitCode: exitCodeOf(error), cause: error });
  return error;
}

function exitCodeOf(error: SluiceError): ExitCode {
  switch (error.kind) {
    case "data-loss":
      return EXIT.damaged;
    case "not-found":
      return EXIT.notFound;
    case "permission-denied":
      return EXIT.denied;
    case "limit-exceeded":
      return EXIT.limit;
    case "unavailable":
      return EXIT.unavailable;
    case "invalid-argument":
    case "out-of-range":
      return EXIT.usage;
    case "aborted":
    case "already-exists":
    case "failed-precondition":
      return EXIT.failure;
    default:
      return error.kind satisfies never;
  }
}
