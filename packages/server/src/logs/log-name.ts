// Names of logs.
import { InvalidRequest } from "../errors.ts";

/** A name that `parseLogName` has checked. */
export type LogName = string & { readonly brand: unique symbol };

/** What an empty name means. */
export const DEFAULT_LOG = "default";

const PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export const LOG_NAME_ALLOWED =
  "a log's name has 1 to 63 lower-case letters, digits, dots, dashes or underscores and begins with a letter or digit";

export function isLogName(name: string): name is LogName {
  return PATTERN.test(name);
}

/** Checks the name of a log in a request; empty means the default one. @throws InvalidRequest */
export function parseLogName(name: string, field = "log"): LogName {
  const wanted = name === "" ? DEFAULT_LOG : name;
  if (!isLogName(wanted)) throw new InvalidRequest("INVALID_LOG_NAME", [{ field, description: LOG_NAME_ALLOWED }]);
  return wanted;
}
