import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { describe, expect, test, vi } from "vitest";
import { openDataFolder } from "../store/data-folder.ts";
import { examineDataFolder } from "../store/doctor.ts";
import { createLogger } from "../telemetry/logger.ts";
import { createEngine } from "./engine/queue.ts";
import { newJob } from "./engine/testing/queue-fixture.ts";
import { queueFrameCodec } from "./journal/queue-journal.ts";
import { JournalPlace } from "./journal/testing/journal-place.ts";
import { openQueues, type OpenQueues } from "./open-queues.ts";
import { DEFAULT_SETTINGS } from "./settings.ts";

/** A data folder with queues, on the real disk. */
class QueuesPlace implements AsyncDisposable {
  readonly journals: JournalPlace;
  readonly lines: string[] = [];

  constructor(journals: JournalPlace) {
    this.journals = journals;
  }

  static async make(): Promise<QueuesPlace> {
    return new QueuesPlace(await JournalPlace.make());
  }

  get folder(): string {
    return `${this.journals.folder}/queues`;
  }

  open(queuesMax = 10): Promise<OpenQueues> {
    const { fileSystem, clock, folder: path } = this.journals;
    const logger = createLogger({ format: "text", level: "warn", clock, write: (line) => this.lines.push(line) });
    return openQueues({
      folder: { path, queuesFolder: this.folder },
      fileSystem,
      clock,
      random: () => 0.5,
      logger,
      queuesMax,
      createEngine,
    });
  }

  names(): Promise<string[]> {
    return readdir(this.folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.journals[Symbol.asyncDispose]();
  }
}

async function enqueue(queues: OpenQueues, name: string, count: number): Promise<void> {
  const queue = queues.find(name)!;
  const { place } = queue.engine.enqueue(Array.from({ length: count }, () => newJob()));
  await queue.journal.durable(place);
}

const waiting = (queues: OpenQueues, name: string) => queues.find(name)!.engine.counts().waiting;

describe("the queues of a data folder", () => {
  test("are there again when it is opened again, with their settings and their jobs", async () => {
    await using place = await QueuesPlace.make();
    {
      await using queues = await place.open();
      await queues.create("tax", { ...DEFAULT_SETTINGS, leaseMs: 1234 });
      await queues.create("mail", DEFAULT_SETTINGS);
      await enqueue(queues, "tax", 3);
      expect(queues.list().map(({ name }) => name)).toEqual(["mail", "tax"]);
    }
    await using queues = await place.open();
    expect(queues.list().map(({ name }) => name)).toEqual(["mail", "tax"]);
    expect(queues.find("tax")!.engine.settings.leaseMs).toBe(1234);
    expect(waiting(queues, "tax")).toBe(3);
    expect(waiting(queues, "mail")).toBe(0);
    expect(queues.find("none")).toBeUndefined();
    expect(place.lines).toEqual([]);
  });

  test("have different names, are no more than there may be, and are called as a queue may be", async () => {
    await using place = await QueuesPlace.make();
    await using queues = await place.open(2);
    const [made, again] = await Promise.allSettled([
      queues.create("tax", DEFAULT_SETTINGS),
      queues.create("tax", DEFAULT_SETTINGS),
    ]);
    expect(made.status).toBe("fulfilled");
    expect(again).toMatchObject({ reason: { kind: "already-exists" } });
    await expect(queues.create("tax", DEFAULT_SETTINGS)).rejects.toMatchObject({ kind: "already-exists" });
    await queues.create("mail", DEFAULT_SETTINGS);
    await expect(queues.create("third", DEFAULT_SETTINGS)).rejects.toMatchObject({ kind: "limit-exceeded" });
    await expect(queues.create("../x", DEFAULT_SETTINGS)).rejects.toThrow('Not the name of a queue: "../x"');
    expect((await place.names()).sort()).toEqual(["mail", "tax"]);
  });

  test("go with all that is in them; who has one open hears of it", async () => {
    await using place = await QueuesPlace.make();
    await using queues = await place.open();
    const queue = await queues.create("tax", DEFAULT_SETTINGS);
    await enqueue(queues, "tax", 3);
    const closed: Error[] = [];
    queue.onClosed((error) => closed.push(error));
    await queues.remove("tax");
    expect(closed).toMatchObject([{ kind: "not-found" }]);
    queue.onClosed((error) => closed.push(error));
    expect(closed).toHaveLength(2);
    expect(queues.find("tax")).toBeUndefined();
    expect(await place.names()).toEqual([]);
    await expect(queues.remove("tax")).rejects.toMatchObject({ kind: "not-found" });
    await queues.create("tax", DEFAULT_SETTINGS);
    expect(waiting(queues, "tax")).toBe(0);
  });

  test("leave behind nothing of what was not made or removed to its end; what is no queue's is left alone", async () => {
    await using place = await QueuesPlace.make();
    await (await place.open())[Symbol.asyncDispose]();
    for (const name of [".new-tax", ".gone-mail", "No Queue"]) {
      await mkdir(`${place.folder}/${name}`);
      await writeFile(`${place.folder}/${name}/EPOCHS`, "x");
    }
    await using queues = await place.open();
    expect(await place.names()).toEqual(["No Queue"]);
    expect(queues.list()).toEqual([]);
    expect(place.lines.join()).toContain("has not the name of a queue");
  });
});

describe("a queue whose journal fails", () => {
  test("is closed with a reason, then opened again with what was acknowledged", async () => {
    await using place = await QueuesPlace.make();
    await using queues = await place.open();
    const queue = await queues.create("tax", DEFAULT_SETTINGS);
    await queues.create("mail", DEFAULT_SETTINGS);
    await enqueue(queues, "tax", 2);
    const closed = new Promise<Error>((resolve) => queue.onClosed(resolve));
    const { clock } = place.journals;
    const setTimer = vi.spyOn(clock, "setTimer");
    place.journals.failWrites = "EIO";
    await expect(enqueue(queues, "tax", 1)).rejects.toMatchObject({ kind: "unavailable" });
    expect(await closed).toMatchObject({ kind: "unavailable", facts: { reason: "QUEUE_JOURNAL_FAILED" } });
    expect(() => queues.find("tax")).toThrow(/Cannot use queue "tax" now/);
    expect(queues.list().map(({ name }) => name)).toEqual(["mail"]);
    // In vain, again and again, but later and later.
    const pauses = () => setTimer.mock.calls.map(([, ms]) => ms).filter((ms) => ms % 100 === 0 && ms < 1000);
    await expect
      .poll(async () => {
        await clock.advanceInTurns(100);
        return pauses();
      })
      .toEqual([100, 200, 400, 800]);
    place.journals.failWrites = undefined;
    await expect
      .poll(async () => {
        await clock.advanceInTurns(30_000);
        return queues.list().map(({ name }) => name);
      })
      .toEqual(["mail", "tax"]);
    expect(waiting(queues, "tax")).toBe(2);
    expect(queues.find("tax")).not.toBe(queue);
  });
});

describe("a queue whose records do not prove themselves", () => {
  test("is refused, at each start, while all others are served; it can be removed", async () => {
    await using place = await QueuesPlace.make();
    {
      await using queues = await place.open();
      await queues.create("tax", DEFAULT_SETTINGS);
      await queues.create("mail", DEFAULT_SETTINGS);
      await enqueue(queues, "tax", 20);
      await enqueue(queues, "mail", 1);
    }
    const [segment] = (await readdir(`${place.folder}/tax`)).filter((name) => name.endsWith(".frames"));
    const path = `${place.folder}/tax/${segment}`;
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
    await (await place.open())[Symbol.asyncDispose]();
    await using queues = await place.open();
    expect(() => queues.find("tax")).toThrow(expect.objectContaining({ kind: "data-loss" }) as Error);
    expect(() => queues.find("tax")).toThrow(segment!);
    expect(waiting(queues, "mail")).toBe(1);
    await expect(queues.create("tax", DEFAULT_SETTINGS)).rejects.toMatchObject({ kind: "already-exists" });
    await queues.remove("tax");
    await queues.create("tax", DEFAULT_SETTINGS);
    expect(waiting(queues, "tax")).toBe(0);
  });

  test("nor does one that has none at all", async () => {
    await using place = await QueuesPlace.make();
    await (await place.open())[Symbol.asyncDispose]();
    await mkdir(`${place.folder}/tax`);
    await using queues = await place.open();
    expect(() => queues.find("tax")).toThrow(/holds no record of it/);
  });
});

test("a queue that cannot be made is not there, nor anything of it", async () => {
  await using place = await QueuesPlace.make();
  {
    await using queues = await place.open();
    place.journals.failWrites = "ENOSPC";
    await expect(queues.create("tax", DEFAULT_SETTINGS)).rejects.toMatchObject({ kind: "unavailable" });
    place.journals.failWrites = undefined;
    expect(queues.find("tax")).toBeUndefined();
    expect(await place.names()).toEqual([]);
    await queues.create("tax", DEFAULT_SETTINGS);
  }
  await using queues = await place.open();
  expect(queues.list()).toHaveLength(1);
});

test("the doctor examines the journals of queues", async () => {
  await using place = await QueuesPlace.make();
  const { clock, folder, fileSystem } = place.journals;
  await (await openDataFolder({ folder, fileSystem }))[Symbol.asyncDispose]();
  {
    await using queues = await place.open();
    await queues.create("tax", DEFAULT_SETTINGS);
    await enqueue(queues, "tax", 20);
  }
  await mkdir(`${place.folder}/.new-mail`);
  const examine = () =>
    examineDataFolder({
      folder,
      fileSystem,
      clock,
      codec: queueFrameCodec,
      queueCodec: queueFrameCodec,
      repair: false,
    });
  expect(await examine()).toMatchObject({ isHealthy: true, logs: [], queues: [{ name: "tax", entries: 22 }] });
  const [segment] = (await readdir(`${place.folder}/tax`)).filter((name) => name.endsWith(".frames"));
  const path = `${place.folder}/tax/${segment}`;
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
  expect(await examine()).toMatchObject({ isHealthy: false, queues: [{ segments: [{ damaged: [{}] }] }] });
});
