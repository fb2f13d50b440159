// A real Prometheus for tests, on files of its own: it scrapes what its configuration says, takes remote write, and answers queries.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface Prometheus extends AsyncDisposable {
  /** "127.0.0.1:41234". */
  readonly address: string;
  /** Of an instant query: labels and value of each series. */
  query(expression: string): Promise<readonly Sample[]>;
  /** What it says of the targets that it scrapes. */
  targets(): Promise<readonly Target[]>;
}

export interface Sample {
  /** With __name__. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Target {
  readonly job: string;
  readonly health: string;
  readonly lastError: string;
}

interface StartOptions {
  /** Of the program. */
  readonly path: string;
  readonly folder: string;
  /** YAML: from "scrape_configs:" on. */
  readonly scrape: string;
}

export async function startPrometheus({ path, folder, scrape }: StartOptions): Promise<Prometheus> {
  const configuration = join(folder, "prometheus.yml");
  await writeFile(configuration, `global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n${scrape}\n`);
  const child = spawn(
    path,
    [
      `--config.file=${configuration}`,
      `--storage.tsdb.path=${join(folder, "tsdb")}`,
      "--web.listen-address=127.0.0.1:0",
      "--web.enable-remote-write-receiver",
      "--enable-feature=native-histograms",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  try {
    const address = await addressOf(child);
    return new RunningPrometheus(child, address);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
}

/** It says where it listens in its log. */
async function addressOf(child: ChildProcess): Promise<string> {
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr! })) {
    said.push(line);
    const address = /Listening on.*address=(\S+)/u.exec(line)?.[1];
    if (address === undefined) continue;
    child.stderr!.resume();
    return address;
  }
  throw new Error(`Prometheus has ended: ${said.slice(-5).join("\n")}`);
}

interface QueryAnswer {
  readonly data: {
    readonly result: readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[];
  };
}
interface TargetsAnswer {
  readonly data: {
    readonly activeTargets: readonly {
      readonly labels: Readonly<Record<string, string>>;
      readonly health: string;
      readonly lastError: string;
    }[];
  };
}

class RunningPrometheus implements Prometheus {
  readonly address: string;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess, address: string) {
    this.#child = child;
    this.address = address;
  }

  async query(expression: string): Promise<readonly Sample[]> {
    const { data } = await this.#ask<QueryAnswer>(`query?query=${encodeURIComponent(expression)}`);
    return data.result.map(({ metric, value: [, text] }) => ({
      labels: metric,
      value: text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text),
    }));
  }

  async targets(): Promise<readonly Target[]> {
    const { data } = await this.#ask<TargetsAnswer>("targets");
    return data.activeTargets.map(({ labels, health, lastError }) => ({ job: labels["job"] ?? "", health, lastError }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async #ask<T>(path: string): Promise<T> {
    const response = await fetch(`http://${this.address}/api/v1/${path}`, { headers: { connection: "close" } });
    return (await response.json()) as T;
  }
}
