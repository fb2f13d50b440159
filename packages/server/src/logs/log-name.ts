// Names of logs.
import { InvalidRequest } from "../errors.ts";

/** A name that `parseLogName` has checked. */
export type LogName = string & { readonly brand: unique symbol };

/** What an empty name means. */
export const DEFAULT_LOG = "default";

const PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;

/** Checks the name of a log in a request; empty means the default one. @throws InvalidRequest */
export function parseLogName(name: string, field = "log"): LogName {
  const wanted = name === "" ? DEFAULT_LOG : name;
  if (!PATTERN.test(wanted)) {
    throw new InvalidRequest("INVALID_LOG_NAME", [
      {
        field,
        description:
          "a log's name has 1 to 63 lower-case letters, digits, dots, dashes or underscores and begins with a letter or digit",
      },
    ]);
  }
  return wanted as LogName;
}
