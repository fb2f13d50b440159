// The queues of others: how each server is started, by which client it is used, and how many jobs wait at a worker.

import { execFile } from "node:child_process";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { buildPeer, root } from "./build.ts";
import { type ClientName, runClient } from "./client-run.ts";
import type { QueuePeerOutcome, QueuePeerTask } from "./clients/queue-peer.ts";
import type { Entrant, Server } from "./contest.ts";
import { nodeServer } from "./peers.ts";
import { versionOf } from "./servers/server-options.ts";

const run = promisify(execFile);
const timeoutMs = 120_000;

/** A kind of queue, by the client that its users use. */
interface PeerQueue {
  readonly who: string;
  /** The name of its server as a contestant. */
  readonly server: string;
  readonly client: ClientName;
  readonly kind: string;
  /** Jobs that a worker has beyond those that it has begun, at most. */
  readonly depth: (window: number) => number;
}

const queues: readonly PeerQueue[] = [
  {
    who: "rabbitmq quorum",
    server: "rabbitmq",
    client: "queue-rabbitmq",
    kind: "quorum",
    depth: (window) => window - 1,
  },
  {
    who: "rabbitmq classic",
    server: "rabbitmq",
    client: "queue-rabbitmq",
    kind: "classic",
    depth: (window) => window - 1,
  },
  // Its window is its concurrency: all that a worker has has begun.
  { who: "bullmq", server: "redis", client: "queue-bullmq", kind: "", depth: () => 0 },
  // It pulls again when it hands over the last message.
  { who: "jetstream", server: "nats", client: "queue-jetstream", kind: "", depth: (window) => window },
];

/** One that runs. */
export interface RunningPeerQueue {
  readonly who: string;
  readonly depth: (window: number) => number;
  /** Jobs in or out. @returns seconds */
  readonly run: (task: Omit<QueuePeerTask, "address" | "kind">) => Promise<number>;
}

/** @param servers those that run, of `findQueueServers` */
export function peerQueues(servers: readonly Server[]): RunningPeerQueue[] {
  return queues.flatMap(({ who, server: name, client, kind, depth }) => {
    const server = servers.find((each) => each.who === name);
    if (server === undefined) return [];
    const { address } = server.process;
    const carryOut = async (task: Omit<QueuePeerTask, "address" | "kind">): Promise<number> => {
      const full = { ...task, address, kind };
      return (await runClient<QueuePeerTask, QueuePeerOutcome>(client, full, { timeoutMs })).seconds;
    };
    return [{ who, depth, run: carryOut }];
  });
}

/** @param data each server makes a folder of its own in it */
export async function findQueueServers(data: string): Promise<Entrant[]> {
  return [await findRabbitMq(data), await findRedis(data), await findNats(data)];
}

async function findRabbitMq(data: string): Promise<Entrant> {
  try {
    await access("/usr/lib/rabbitmq/bin/rabbitmq-server");
    const { stdout } = await run("dpkg-query", ["--show", "--showformat=${Version}", "rabbitmq-server"]);
    return ready("rabbitmq", data, `${stdout.trim()}, amqplib ${versionOf("amqplib")}`);
  } catch {
    return missing("rabbitmq", "there is no RabbitMQ of Debian on this machine: apt-get install rabbitmq-server");
  }
}

/** Redis, every answered command on disk. */
export async function findRedis(data: string): Promise<Entrant> {
  try {
    const { stdout } = await run("redis-server", ["--version"]);
    const version = /v=(\S+)/.exec(stdout)?.[1] ?? "";
    return ready("redis", data, `${version}, bullmq ${versionOf("bullmq")}`);
  } catch {
    return missing("redis", "there is no Redis on this machine: apt-get install redis-server");
  }
}

/** NATS, with and without JetStream. */
export async function findNats(data: string): Promise<Entrant> {
  const build = await buildPeer("nats-server");
  if (build.kind === "missing") return missing("nats", build.reason);
  const { stdout } = await run(build.program, ["--version"]);
  const version = stdout.trim().replace("nats-server: ", "");
  const text = `${version}, @nats-io/jetstream ${versionOf("@nats-io/jetstream")}`;
  return ready("nats", data, text, ["--program", build.program]);
}

function ready(who: string, data: string, version: string, rest: readonly string[] = []): Entrant {
  const file = join(root, "bench/servers", `${who}.ts`);
  return {
    kind: "ready",
    contestant: { who, command: nodeServer([file, "--data", data, "--version", version, ...rest]) },
  };
}

function missing(who: string, reason: string): Entrant {
  return { kind: "missing", who, reason };
}
