// What DISK and MEMORY promise a writer, and what readers are promised whatever the writer chose, when the power goes at any
// moment. Two logs, and entries of one request in both of them: routes.
//
// A1. What was acknowledged with DISK is there, once and in order in its log.
// A2. What any reader has seen is there.
// A3. What was acknowledged with MEMORY may be gone, from an end on: never one with a later one behind it in its log.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Durability, LogEntrySchema, WriteLogsRequestSchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../packages/server/src/limits.ts";
import { entryFrameCodec } from "../../packages/server/src/logs/frame-codec.ts";
import { createWriteTargets } from "../../packages/server/src/logs/write-targets.ts";
import { parseWriteRequest } from "../../packages/server/src/logs/write-request.ts";
import { writeLogs } from "../../packages/server/src/logs/write.ts";
import { allowAll, SERVER_SUBJECT } from "../../packages/server/src/security/authorize.ts";
import type { LogReader, Run } from "../../packages/server/src/store/contract.ts";
import { openDataFolder } from "../../packages/server/src/store/data-folder.ts";
import { type Log, openLog } from "../../packages/server/src/store/log.ts";
import { range } from "../../packages/server/src/store/testing/reading.ts";
import { between, seededRandom } from "../support/crash-random.ts";
import { FakeFileSystem, type Fate } from "../support/fake-file-system.ts";

const LOGS = ["default", "audit"] as const;
type LogNamed = Record<(typeof LOGS)[number], Log>;

/** Batches of one producer; entry n has the message "PRODUCER n" and goes to "audit" when n is even. */
class Producer {
  readonly id: string;
  readonly durability: Durability;
  /** Everything up to here was acknowledged. */
  acknowledged = 0;

  constructor(id: string, durability: Durability) {
    this.id = id;
    this.durability = durability;
  }

  messages(from: number, to: number): string[] {
    return range(from, to).map((number) => `${this.id} ${number}`);
  }
}

const isForAudit = (message: string): boolean => Number(message.split(" ")[1]) % 2 === 0;

class World {
  readonly random: () => number;
  readonly disk: FakeFileSystem;
  readonly clock = new ManualClock();
  readonly producers = [new Producer("disk", Durability.DISK), new Producer("memory", Durability.MEMORY)] as const;
  /** What readers have seen, by log. */
  readonly seen = { default: new Set<string>(), audit: new Set<string>() };

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.disk = new FakeFileSystem(this.random);
  }

  async open(): Promise<LogNamed> {
    const { fileSystem } = this.disk;
    const { clock } = this;
    const lock = () => ({ [Symbol.dispose]: () => undefined });
    const folder = await openDataFolder({ folder: "/data", fileSystem, lock });
    const options = { segmentBytes: 4000, groupBytesMax: 1500, tailBytes: 500, historyBytesMax: 4000 };
    const open = (name: string) =>
      openLog({ folder: folder.logFolder(name), name, fileSystem, clock, codec: entryFrameCodec, options });
    return { default: await open("default"), audit: await open("audit") };
  }

  /** Writers and readers, until the power goes. */
  async live(logs: LogNamed): Promise<void> {
    const targets = createWriteTargets({
      logs: LOGS.map((name) => ({ name, reader: logs[name].reader, writer: logs[name].writer })),
      routes: [{ applications: "pay", log: "audit" }],
      authorize: allowAll,
      clock: this.clock,
      limits: DEFAULT_LIMITS,
    });
    const target = targets.find(SERVER_SUBJECT, "");
    const watches = LOGS.map((name) => watch(logs[name].reader, this.seen[name]));
    const writers = this.producers.map(async (producer) => {
      while (!this.disk.isDead) {
        const { id, durability, acknowledged } = producer;
        const count = between(this.random, 1, 6);
        const entries = producer.messages(acknowledged + 1, acknowledged + count).map((message) => ({
          application: isForAudit(message) ? "pay" : "web",
          message,
        }));
        const bytes = requestOf({
          producer: id,
          durability,
          firstProducerSequence: BigInt(acknowledged + 1),
          settledProducerSequence: BigInt(acknowledged),
          entries,
        });
        const request = parseWriteRequest(bytes, DEFAULT_LIMITS);
        try {
          const { accepted } = await writeLogs(request, { target, budget: targets.budget, atBound: "wait" });
          expect(accepted).toBe(BigInt(count));
          producer.acknowledged += count;
        } catch (error) {
          if (!this.disk.isDead) throw error;
        }
        await turn();
      }
    });
    await Promise.all(writers);
    for (const stop of watches) stop();
    this.clock.forgetTimers();
  }

  /** Returns how many entries that were acknowledged with MEMORY are gone. */
  async check(logs: LogNamed): Promise<number> {
    let gone = 0;
    for (const name of LOGS) {
      const found = await messagesOf(logs[name].reader);
      const missing = [...this.seen[name]].filter((message) => !found.includes(message));
      expect(missing, `A2 ${name}`).toEqual([]);
      for (const producer of this.producers) {
        const own = found.filter((message) => message.startsWith(`${producer.id} `));
        const due = producer
          .messages(1, Math.max(producer.acknowledged, numberOf(own.at(-1))))
          .filter((message) => isForAudit(message) === (name === "audit"));
        if (producer.durability === Durability.DISK) {
          expect(own.slice(0, due.length), `A1 ${name}`).toEqual(due);
        } else {
          expect(own, `A3 ${name}`).toEqual(due.slice(0, own.length));
          gone += due.length - own.length;
        }
      }
    }
    return gone;
  }
}

function requestOf(init: MessageInitShape<typeof WriteLogsRequestSchema>): Uint8Array {
  return toBinary(WriteLogsRequestSchema, create(WriteLogsRequestSchema, init));
}

const numberOf = (message: string | undefined): number => Number(message?.split(" ")[1] ?? 0);

/** Remembers what a follower sees, as soon as it may. */
function watch(reader: LogReader, seen: Set<string>): () => void {
  const scan = reader.scan(reader.head.sequence);
  const unsubscribe = reader.onHead(() => {
    for (let run = scan.next(1_000_000); run !== undefined; run = scan.next(1_000_000)) {
      if (run instanceof Promise) throw new Error("A follower at the head reads from memory");
      for (const message of messagesIn(run)) seen.add(message);
    }
  });
  return () => {
    unsubscribe();
    scan.close();
  };
}

async function messagesOf(reader: LogReader): Promise<string[]> {
  const scan = reader.scan(0);
  const messages: string[] = [];
  for (let run = await scan.next(1000); run !== undefined; run = await scan.next(1000)) {
    messages.push(...messagesIn(run));
  }
  scan.close();
  return messages;
}

function messagesIn(run: Run): string[] {
  if (run.kind === "gap") throw new Error(`A gap: ${JSON.stringify(run)}`);
  return range(0, run.count - 1).map((i) => {
    return fromBinary(LogEntrySchema, run.bytes.subarray(run.starts[i]! + 5, run.starts[i + 1])).message;
  });
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

test("whatever the power cut leaves, promises to writers and readers are kept", async () => {
  let gone = 0;
  for (const seed of range(1, 80)) {
    const world = new World(seed);
    const logs = await world.open();
    let left = between(world.random, 1, 80);
    world.disk.plan = (): Fate => {
      left--;
      if (left > 0) return "done";
      return world.random() < 0.5 ? "killed" : "killed-within";
    };
    await world.live(logs);
    world.disk.plan = () => "done";
    world.disk.cutPower(world.random() < 0.5 ? "nothing-unsynced" : "any-part-unsynced");
    const again = await world.open();
    gone += await world.check(again);
    for (const name of LOGS) await again[name][Symbol.asyncDispose]();
  }
  // MEMORY is no DISK: the test would not see the difference otherwise.
  expect(gone).toBeGreaterThan(0);
}, 120_000);
