// The kinds of values that settings have. Each takes what a flag or a variable gives (text) as well as what YAML gives.
import { z } from "zod";
import { BYTES_ALLOWED, DURATION_ALLOWED, parseBytes, parseDuration, UnitError } from "./units.ts";

/** A place to listen or to connect to. */
export interface Address {
  readonly host: string;
  /** 0: the system picks a free one. */
  readonly port: number;
}

const ADDRESS_ALLOWED =
  "HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080, with a port of 0 to 65535 (0: any free one)";

/** HOST:PORT. */
export const address = z.string({ error: `allowed is ${ADDRESS_ALLOWED}` }).transform((text, context): Address => {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.%a-z]+)\]|(?<host>[^\s:/[\]]+)):(?<port>\d{1,5})$/u.exec(text.trim());
  const host = match?.groups?.["v6"] ?? match?.groups?.["host"];
  const port = Number(match?.groups?.["port"]);
  if (host === undefined || !(port <= 65_535)) {
    context.addIssue({ code: "custom", message: `"${text}" is no address; allowed is ${ADDRESS_ALLOWED}` });
    return z.NEVER;
  }
  return { host, port };
});

/** A folder or a file, not empty. */
export const path = z.string({ error: "allowed is a path" }).min(1, "must not be empty; allowed is a path");

/** true or false. */
export const flag = z.union(
  [z.boolean(), z.stringbool({ truthy: ["true", "yes", "on", "1"], falsy: ["false", "no", "off", "0"] })],
  { error: (issue) => `${quote(issue.input)} is neither; allowed are true and false` },
);

/** One of some words. */
export function choice<const T extends readonly [string, ...string[]]>(words: T) {
  return z.enum(words, { error: (issue) => `${quote(issue.input)} is none of them; allowed are ${words.join(", ")}` });
}

/** A whole number in a range. */
export function count(min: number, max: number) {
  const allowed = `a whole number from ${min} to ${max}`;
  return z.union([z.number(), z.string()]).transform((value, context): number => {
    const number = typeof value === "number" ? value : /^\s*\d+\s*$/u.test(value) ? Number(value) : Number.NaN;
    if (Number.isSafeInteger(number) && number >= min && number <= max) return number;
    context.addIssue({ code: "custom", message: `${quote(value)} is outside; allowed is ${allowed}` });
    return z.NEVER;
  });
}

/** A size, in bytes. */
export function byteSize(min: string, max: string) {
  return measured({ parse: parseBytes, min, max, allowed: BYTES_ALLOWED });
}

/** A duration, in ms. */
export function duration(min: string, max: string) {
  return measured({ parse: parseDuration, min, max, allowed: DURATION_ALLOWED });
}

/** The same, or "off": undefined. */
export function orOff<T>(type: z.ZodType<T, string | number>) {
  return z.union([z.string(), z.number(), z.literal(false)]).transform((value, context): T | undefined => {
    // YAML 1.1 readers and people write `off` as a boolean; both mean the word.
    if (value === "off" || value === false) return undefined;
    const result = type.safeParse(value);
    if (result.success) return result.data;
    for (const issue of result.error.issues) context.addIssue({ code: "custom", message: `${issue.message}; or off` });
    return z.NEVER;
  });
}

interface Measure {
  readonly parse: (text: string) => number;
  readonly min: string;
  readonly max: string;
  readonly allowed: string;
}

function measured({ parse, min, max, allowed }: Measure) {
  const least = parse(min);
  const most = parse(max);
  return z
    .union([z.string(), z.number()], { error: (issue) => `${quote(issue.input)} is none; allowed is ${allowed}` })
    .transform((value, context): number => {
      try {
        const amount = parse(String(value));
        if (amount >= least && amount <= most) return amount;
        context.addIssue({ code: "custom", message: `${quote(value)} is outside; allowed is ${min} to ${max}` });
      } catch (error) {
        if (!(error instanceof UnitError)) throw error;
        context.addIssue({ code: "custom", message: `${error.message} (from ${min} to ${max})` });
      }
      return z.NEVER;
    });
}

function quote(value: unknown): string {
  return typeof value === "string" ? `"${value}"` : (JSON.stringify(value) ?? String(value));
}
