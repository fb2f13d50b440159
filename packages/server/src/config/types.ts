// The kinds of values that settings have. Each takes what a flag or a variable gives (text) as well as what YAML gives.
import { z } from "zod";
import type { FileRoot } from "../files/file-path.ts";
import type { ListenPlace } from "../http/open-listeners.ts";
import { isLogName, LOG_NAME_ALLOWED } from "../logs/log-name.ts";
import type { Route } from "../logs/routing.ts";
import { parseScrapeTarget, SCRAPE_ALLOWED, type ScrapeTarget } from "../metrics/scrape-target.ts";
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
  const found = findAddress(text);
  if (found !== undefined) return found;
  context.addIssue({ code: "custom", message: `"${text}" is no address; allowed is ${ADDRESS_ALLOWED}` });
  return z.NEVER;
});

const PLACE_ALLOWED = `${ADDRESS_ALLOWED}, unix:/PATH, or systemd`;

/** HOST:PORT, unix:/PATH or systemd. */
const listenPlace = z.string({ error: `allowed is ${PLACE_ALLOWED}` }).transform((text, context): ListenPlace => {
  const found = findAddress(text);
  if (found !== undefined) return { kind: "address", address: found };
  const [, path] = /^unix:(.+)$/u.exec(text.trim()) ?? [];
  if (path !== undefined) return { kind: "unix", path };
  if (text.trim() === "systemd") return { kind: "systemd" };
  context.addIssue({ code: "custom", message: `"${text}" is no address; allowed is ${PLACE_ALLOWED}` });
  return z.NEVER;
});

function findAddress(text: string): Address | undefined {
  const match = /^(?:\[(?<v6>[0-9a-fA-F:.%a-z]+)\]|(?<host>[^\s:/[\]]+)):(?<port>\d{1,5})$/u.exec(text.trim());
  const host = match?.groups?.["v6"] ?? match?.groups?.["host"];
  const port = Number(match?.groups?.["port"]);
  return host === undefined || !(port <= 65_535) ? undefined : { host, port };
}

const ORIGIN_ALLOWED = "https://HOST, with a port unless it is the usual one, and nothing behind";

/** The origin of web pages, as browsers write it. */
const origin = z.string({ error: `allowed is ${ORIGIN_ALLOWED}` }).transform((text, context): string => {
  const trimmed = text.trim();
  if (URL.parse(trimmed)?.origin === trimmed) return trimmed;
  context.addIssue({ code: "custom", message: `"${text}" is no origin; allowed is ${ORIGIN_ALLOWED}` });
  return z.NEVER;
});

/** One or more places to listen at, separated by commas. */
export const listenPlaces = listOf(listenPlace, PLACE_ALLOWED);

/** One or more origins, separated by commas. */
export const origins = listOf(origin, ORIGIN_ALLOWED);

const ROOT_ALLOWED =
  "FOLDER, or NAME=FOLDER with a name of letters, digits, dots, dashes or underscores, " +
  "each with :rw behind to be written to, and :hidden for what has a dot in front";

/** A folder that is shared, with or without a name. */
const fileRoot = z.string({ error: `allowed is ${ROOT_ALLOWED}` }).transform((text, context): FileRoot => {
  const {
    name = "",
    folder = "",
    modes = "",
  } = /^(?:(?<name>[^=/]*)=)?(?<folder>.*?)(?<modes>(?::rw|:hidden)*)$/su.exec(text.trim())?.groups ?? {};
  if (folder !== "" && (name === "" ? !text.trim().startsWith("=") : /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/u.test(name))) {
    return { name, folder, isWritable: modes.includes(":rw"), showsHidden: modes.includes(":hidden") };
  }
  context.addIssue({ code: "custom", message: `"${text}" is none; allowed is ${ROOT_ALLOWED}` });
  return z.NEVER;
});

/** One or more folders to share, separated by commas. */
export const fileRoots = listOf(fileRoot, ROOT_ALLOWED).superRefine((roots, context) => {
  const twice = roots.find(({ name }, i) => roots.findIndex((each) => each.name === name) < i);
  if (twice === undefined) return;
  const which = twice.name === "" ? "two folders have no name" : `two folders have the name "${twice.name}"`;
  context.addIssue({ code: "custom", message: `${which}; give each its own: NAME=FOLDER` });
});

const ROUTE_ALLOWED = "APPLICATION=LOG, with * and ? in the application as in names of files";

/** Where the entries of some applications go. */
const route = z.string({ error: `allowed is ${ROUTE_ALLOWED}` }).transform((text, context): Route => {
  const at = text.lastIndexOf("=");
  const log = text.slice(at + 1).trim();
  if (at > 0 && isLogName(log)) return { applications: text.slice(0, at).trim(), log };
  const why = at > 0 ? `"${log}" is no name of a log: ${LOG_NAME_ALLOWED}` : `allowed is ${ROUTE_ALLOWED}`;
  context.addIssue({ code: "custom", message: `"${text}" is no route; ${why}` });
  return z.NEVER;
});

/** One or more routes, separated by commas. */
export const routes = listOf(route, ROUTE_ALLOWED);

/** One who is asked for metrics. */
const scrapeTarget = z.string({ error: `allowed is ${SCRAPE_ALLOWED}` }).transform((text, context): ScrapeTarget => {
  const found = parseScrapeTarget(text, parseDuration);
  if (typeof found !== "string") return found;
  context.addIssue({ code: "custom", message: `"${text}" is no target: ${found}; allowed is ${SCRAPE_ALLOWED}` });
  return z.NEVER;
});

/** One or more targets, separated by commas. */
export const scrapeTargets = listOf(scrapeTarget, SCRAPE_ALLOWED);

const FORWARD_ALLOWED = "http://HOST/PATH (remote write), https://…, otlp://HOST:PORT (OTLP over gRPC) or otlps://…";

/** One to whom metrics are handed on. */
const forwardTarget = z.string({ error: `allowed is ${FORWARD_ALLOWED}` }).transform((text, context): URL => {
  const url = URL.parse(text);
  const isRemoteWrite = url?.protocol === "http:" || url?.protocol === "https:";
  const isOtlp = (url?.protocol === "otlp:" || url?.protocol === "otlps:") && url.port !== "";
  if (url !== null && url.host !== "" && (isRemoteWrite || isOtlp)) return url;
  context.addIssue({ code: "custom", message: `"${text}" is no target; allowed is ${FORWARD_ALLOWED}` });
  return z.NEVER;
});

/** One or more of them, separated by commas. */
export const forwardTargets = listOf(forwardTarget, FORWARD_ALLOWED);

/** One or more of them, separated by commas. */
export function listOf<T>(type: z.ZodType<T, string>, allowed: string) {
  return z.string({ error: `allowed is ${allowed}` }).transform((text, context): readonly T[] => {
    const results = text.split(",").map((item) => type.safeParse(item.trim()));
    for (const { error } of results) {
      for (const { message } of error?.issues ?? []) context.addIssue({ code: "custom", message });
    }
    return results.flatMap(({ data }) => (data === undefined ? [] : [data]));
  });
}

/** Who may connect to a Unix socket, as `chmod` takes it: 600, 660, 666. */
export const fileMode = z.union([z.string(), z.number()]).transform((value, context): number => {
  const text = String(value).trim();
  if (/^0?[0-7]{3}$/u.test(text)) return Number.parseInt(text, 8);
  context.addIssue({ code: "custom", message: `${quote(value)} is none; allowed are three octal digits, such as 660` });
  return z.NEVER;
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
