// Globs over paths: * and ? within a part, ** over any number of parts, [a-z] and [!a-z], {a,b}, \ before what is meant
// literally. Translated to regular expressions of RE2, which match in linear time whatever a glob is made of.
import { RE2JS } from "re2js";
import { InvalidRequest } from "../errors.ts";

/** Whether a path, parts separated by "/", matches. */
export type PathMatcher = (path: string) => boolean;

const GLOB_BYTES_MAX = 4096;
const GLOBS_MAX = 64;

/** Matches whatever one of the globs matches; no globs: everything. @throws InvalidRequest with the index of a bad one */
export function parseGlobs(globs: readonly string[], field = "globs"): PathMatcher {
  if (globs.length === 0) return () => true;
  if (globs.length > GLOBS_MAX) {
    const description = `has ${globs.length} globs: the limit is ${GLOBS_MAX}`;
    throw new InvalidRequest("TOO_MANY_GLOBS", [{ field, description }]);
  }
  const matchers = globs.map((glob, i) => compile(glob, `${field}[${i}]`));
  return (path) => matchers.some((matcher) => matcher.matches(path));
}

function compile(glob: string, field: string): RE2JS {
  const refuse = (description: string): never => {
    throw new InvalidRequest("BAD_GLOB", [{ field, description }]);
  };
  if (glob === "" || Buffer.byteLength(glob) > GLOB_BYTES_MAX) refuse(`has not 1 to ${GLOB_BYTES_MAX} bytes`);
  const parts = glob.split("/");
  // "a/**/b" also is "a/b": the separator belongs to the parts that may be there.
  const expression = parts
    .map((part, i) => {
      const isLast = i === parts.length - 1;
      if (part === "**") return isLast ? ".*" : "(?:[^/]+/)*";
      return translate(part, refuse) + (isLast ? "" : "/");
    })
    .join("");
  return RE2JS.compile(expression, RE2JS.DOTALL);
}

function translate(part: string, refuse: (description: string) => never): string {
  let expression = "";
  let depth = 0;
  for (let at = 0; at < part.length; at++) {
    const character = part[at]!;
    if (character === "*") expression += "[^/]*";
    else if (character === "?") expression += "[^/]";
    else if (character === "\\") expression += RE2JS.quote(part[++at] ?? refuse("ends with a backslash"));
    else if (character === "[") {
      const end = part.indexOf("]", at + 2);
      if (end < 0) refuse("has a [ without its ]; \\[ means the character");
      expression += characterClass(part.slice(at + 1, end));
      at = end;
    } else if (character === "{") {
      depth++;
      expression += "(?:";
    } else if (character === "}" && depth > 0) {
      depth--;
      expression += ")";
    } else expression += character === "," && depth > 0 ? "|" : RE2JS.quote(character);
  }
  if (depth > 0) refuse("has a { without its } in the same part of the path; \\{ means the character");
  return expression;
}

/** Everything in it is literal but a dash between two characters. */
function characterClass(inside: string): string {
  const isNegated = inside.startsWith("!") || inside.startsWith("^");
  const characters = (isNegated ? inside.slice(1) : inside).replaceAll(/[\\[\]^]/gu, "\\$&");
  return `[${isNegated ? "^/" : ""}${characters}]`;
}
