// Who is asked for metrics, as it is written in the configuration: a URL, and what is special about it.

import { ACCESS_FILES, findAccessProblem, isAccessOption, type ScrapeAccess } from "./scrape-access.ts";

export interface ScrapeTarget {
  /** Becomes the label `job`. */
  readonly job: string;
  readonly url: URL;
  /** undefined: that of all targets. */
  readonly intervalMs: number | undefined;
  readonly timeoutMs: number | undefined;
  /** Given to all its series, beside `job` and `instance`. */
  readonly labels: readonly (readonly [name: string, value: string])[];
  /** A sample's own label wins over the target's of the same name. */
  readonly honorLabels: boolean;
  /** A sample's own time is kept. */
  readonly honorTimestamps: boolean;
  readonly access: ScrapeAccess;
}

export const SCRAPE_ALLOWED =
  "[JOB=]URL, with ;interval=15s, ;timeout=10s, ;labels.NAME=VALUE, ;honorLabels=true, ;honorTimestamps=false, ;caFile=PATH, " +
  ";certFile=PATH, ;keyFile=PATH, ;serverName=NAME, ;bearerTokenFile=PATH, ;username=NAME or ;passwordFile=PATH behind it";

const INTERVAL_MIN_MS = 100;
const INTERVAL_MAX_MS = 86_400_000;

/** What is wrong, if it is a text. @param parseDuration throws for a text that is none */
export function parseScrapeTarget(text: string, parseDuration: (text: string) => number): ScrapeTarget | string {
  const [head = "", ...options] = text.split(";").map((part) => part.trim());
  const [, job = "", address = ""] = /^(?:([^=:/?#]+)=)?(.*)$/su.exec(head) ?? [];
  const url = URL.parse(address);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return `"${address}" is no http URL`;
  if (url.pathname === "/" && url.search === "") url.pathname = "/metrics";
  const labels: [string, string][] = [];
  const found: { intervalMs?: number; timeoutMs?: number; honorLabels?: boolean; honorTimestamps?: boolean } = {};
  const access: { -readonly [name in keyof ScrapeAccess]: string } = {};
  for (const option of options) {
    const at = option.indexOf("=");
    const name = option.slice(0, at).trim();
    const value = option.slice(at + 1).trim();
    if (at <= 0) return `"${option}" is no option`;
    if (name === "interval" || name === "timeout") {
      const ms = durationOf(value, parseDuration);
      if (ms === undefined) return `"${value}" is no ${name}, for example 15s`;
      found[`${name}Ms`] = ms;
    } else if (name === "honorLabels" || name === "honorTimestamps") {
      if (value !== "true" && value !== "false") return `${name} is true or false, not "${value}"`;
      found[name] = value === "true";
    } else if (isAccessOption(name)) {
      if (value === "") return `${name} is empty`;
      access[name] = value;
    } else if (name.startsWith("labels.") && name.length > "labels.".length) {
      labels.push([name.slice("labels.".length), value]);
    } else return `"${name}" is no option`;
  }
  const problem = findAccessProblem(url, access);
  if (problem !== undefined) return problem;
  const { intervalMs, timeoutMs, honorLabels = false, honorTimestamps = true } = found;
  return { job: job.trim() || url.host, url, intervalMs, timeoutMs, labels, honorLabels, honorTimestamps, access };
}

/** With the paths of its files as they are from here. */
export function resolveTarget(target: ScrapeTarget, resolvePath: (key: string, path: string) => string): ScrapeTarget {
  const access = { ...target.access };
  for (const name of ACCESS_FILES) {
    const path = access[name];
    if (path !== undefined) Object.assign(access, { [name]: resolvePath("metrics.scrape", path) });
  }
  return { ...target, access };
}

function durationOf(text: string, parseDuration: (text: string) => number): number | undefined {
  try {
    const ms = parseDuration(text);
    return ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS ? ms : undefined;
  } catch {
    return undefined;
  }
}
