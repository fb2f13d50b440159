// Runs nghttp2's load generator and reads what it prints. A run counts only when every request succeeded and the
// bodies have the very length they must have.

import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Load {
  readonly address: string;
  readonly path: string;
  readonly requests: number;
  readonly connections: number;
  readonly inFlightPerConnection: number;
  /** A file that holds the request's body, a gRPC message; absent: GET, without one. */
  readonly bodyFile?: string;
  readonly timeoutMs: number;
  /** With TLS; the certificate is not looked at. */
  readonly isSecure?: boolean;
}

export interface LoadOutcome {
  readonly seconds: number;
  readonly requests: { readonly total: number; readonly succeeded: number };
  readonly statusOk: number;
  /** Bytes of DATA frames' payload. */
  readonly dataBytes: number;
}

/** The version, or undefined where h2load is not installed. */
export async function findH2load(): Promise<string | undefined> {
  try {
    const { stdout } = await run("h2load", ["--version"]);
    return stdout.trim().replace(/^h2load /, "");
  } catch {
    return undefined;
  }
}

/** Stream and connection windows (-w, -W: powers of two) are wide enough never to be what is measured. */
export async function runH2load(load: Load): Promise<LoadOutcome> {
  const { stdout } = await run(
    "h2load",
    [
      `-n${load.requests}`,
      `-c${load.connections}`,
      `-m${load.inFlightPerConnection}`,
      "-w24",
      "-W26",
      ...(load.bodyFile === undefined
        ? []
        : [`-d${load.bodyFile}`, "-Hcontent-type: application/grpc", "-Hte: trailers"]),
      `${load.isSecure === true ? "https" : "http"}://${load.address}${load.path}`,
    ],
    { timeout: load.timeoutMs, killSignal: "SIGKILL", maxBuffer: 2 ** 20 },
  );
  return parseH2load(stdout);
}

/** @throws SyntaxError when the text is not the summary that h2load prints at its end. */
export function parseH2load(text: string): LoadOutcome {
  const [, time, unit] = match(text, /^finished in ([\d.]+)(us|ms|s|m)\b/m);
  const [, total, succeeded] = match(text, /^requests: (\d+) total, .* (\d+) succeeded,/m);
  const [, statusOk] = match(text, /^status codes: (\d+) 2xx,/m);
  const [, dataBytes] = match(text, /^traffic: .*\((\d+)\) data$/m);
  return {
    seconds: Number(time) * secondsPer(unit ?? ""),
    requests: { total: Number(total), succeeded: Number(succeeded) },
    statusOk: Number(statusOk),
    dataBytes: Number(dataBytes),
  };
}

function match(text: string, pattern: RegExp): RegExpExecArray {
  const found = pattern.exec(text);
  if (found === null) throw new SyntaxError(`Cannot read h2load's output: no line matches ${pattern}\n${text}`);
  return found;
}

function secondsPer(unit: string): number {
  switch (unit) {
    case "us":
      return 1e-6;
    case "ms":
      return 1e-3;
    case "m":
      return 60;
    default:
      return 1;
  }
}

/** @throws Error when a request failed, or the bodies are not `dataBytes` long in all. */
export function verifyLoad(
  outcome: LoadOutcome,
  expected: { readonly requests: number; readonly dataBytes: number },
): void {
  const { total, succeeded } = outcome.requests;
  if (total !== expected.requests || succeeded !== total || outcome.statusOk !== total) {
    throw new Error(`${succeeded} of ${expected.requests} requests succeeded (${outcome.statusOk} with a 2xx status)`);
  }
  if (outcome.dataBytes !== expected.dataBytes) {
    throw new Error(`The bodies have ${outcome.dataBytes} bytes in all, not ${expected.dataBytes}`);
  }
}
