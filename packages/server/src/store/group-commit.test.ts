// What the writer asks of the segment's file, and in which order.
import { expect, test } from "vitest";
import type { File, FileSystem, OpenMode } from "./file-system.ts";
import type { Log, LogOptions } from "./log.ts";
import { openDataFolder } from "./data-folder.ts";
import { nodeFileSystem } from "./file-system-node.ts";
import { openLog } from "./log.ts";
import { testCodec } from "./testing/frames.ts";
import { ManualClock } from "@sluice/rpc/testing";
import { openEmbeddedPlace } from "./testing/place.ts";
import { range } from "./testing/reading.ts";
import { append, makeEntry } from "./testing/writing.ts";

/** The real file system, with a list of what the writer did to its segments. */
class Observed implements FileSystem {
  readonly calls: string[] = [];
  #held: { readonly begin: () => void; readonly until: Promise<void> } | undefined;

  /** Keeps the next write from going to disk until `goOn`. */
  holdWrite(): { readonly begun: Promise<void>; readonly goOn: () => void } {
    const begun = Promise.withResolvers<void>();
    const until = Promise.withResolvers<void>();
    this.#held = { begin: begun.resolve, until: until.promise };
    return { begun: begun.promise, goOn: until.resolve };
  }

  async open(path: string, mode: OpenMode): Promise<File> {
    const file = await nodeFileSystem.open(path, mode);
    return mode === "append" ? this.#observe(file) : file;
  }

  list(path: string): Promise<string[]> {
    return nodeFileSystem.list(path);
  }

  makeFolder(path: string): Promise<void> {
    return nodeFileSystem.makeFolder(path);
  }

  rename(from: string, to: string): Promise<void> {
    return nodeFileSystem.rename(from, to);
  }

  remove(path: string): Promise<void> {
    return nodeFileSystem.remove(path);
  }

  removeFolder(path: string): Promise<void> {
    return nodeFileSystem.removeFolder(path);
  }

  freeBytes(path: string): Promise<number> {
    return nodeFileSystem.freeBytes(path);
  }

  syncFolder(path: string): Promise<void> {
    this.calls.push("sync folder");
    return nodeFileSystem.syncFolder(path);
  }

  #observe(file: File): File {
    const { calls } = this;
    const hold = async () => {
      const held = this.#held;
      this.#held = undefined;
      held?.begin();
      await held?.until;
    };
    return {
      read: (buffer, position) => file.read(buffer, position),
      readSync: (buffer, position) => file.readSync(buffer, position),
      async write(buffers, position) {
        calls.push(`write ${buffers.length} at ${position}`);
        await hold();
        await file.write(buffers, position);
        calls.push("durable");
      },
      sync: () => file.sync(),
      truncate: (length) => file.truncate(length),
      size: () => file.size(),
      close: () => file.close(),
    };
  }
}

async function withLog(
  options: Partial<LogOptions>,
  use: (log: Log, calls: string[], fileSystem: Observed) => Promise<void>,
): Promise<void> {
  await using place = await openEmbeddedPlace();
  const fileSystem = new Observed();
  await using folder = await openDataFolder({ folder: place.folder, fileSystem: nodeFileSystem });
  await using log = await openLog({
    folder: folder.logFolder("default"),
    name: "default",
    fileSystem,
    clock: new ManualClock(),
    codec: testCodec,
    options,
  });
  fileSystem.calls.length = 0;
  await use(log, fileSystem.calls, fileSystem);
}

const frameBytes = 5 + 27 + 2 + 4 + "shop".length + "entry 1".length;

test("appends of one turn go to disk together", async () => {
  await withLog({}, async (log, calls) => {
    await Promise.all(range(1, 5).map((number) => append(log.writer, [makeEntry(number)])));
    expect(calls).toEqual(["write 5 at 0", "durable"]);
  });
});

test("appends gather while a group is on its way, and one group is on its way at a time", async () => {
  await withLog({}, async (log, calls, fileSystem) => {
    const write = fileSystem.holdWrite();
    const first = append(log.writer, [makeEntry(1)]);
    await write.begun;
    expect(calls).toEqual(["write 1 at 0"]);
    const others = range(2, 4).map((number) => append(log.writer, [makeEntry(number)]));
    write.goOn();
    await Promise.all([first, ...others]);
    expect(calls).toEqual(["write 1 at 0", "durable", `write 3 at ${frameBytes}`, "durable"]);
  });
});

test("a group holds no more than its bound, unless it is a single batch", async () => {
  await withLog({ groupBytesMax: 2 * frameBytes }, async (log, calls) => {
    const singles = range(1, 3).map((number) => append(log.writer, [makeEntry(number)]));
    const large = append(
      log.writer,
      range(4, 8).map((number) => makeEntry(number)),
    );
    await Promise.all([...singles, large]);
    expect(calls.filter((call) => call !== "durable")).toEqual([
      "write 2 at 0",
      `write 1 at ${2 * frameBytes}`,
      `write 1 at ${3 * frameBytes}`,
    ]);
  });
});

test("a segment's folder is synced before its first entry is written", async () => {
  await withLog({ segmentBytes: 2 * frameBytes }, async (log, calls) => {
    await append(log.writer, [makeEntry(1), makeEntry(2)]);
    await append(log.writer, [makeEntry(3)]);
    const [write, durable, synced, ...then] = calls;
    expect([write, durable, synced]).toEqual(["write 1 at 0", "durable", "sync folder"]);
    // The sealed segment's index is put into the folder meanwhile.
    expect(then.filter((each) => each !== "sync folder").slice(0, 2)).toEqual(["write 1 at 0", "durable"]);
  });
});

test("nothing is answered before it is durable", async () => {
  await withLog({}, async (log, calls) => {
    const seen: string[][] = [];
    log.reader.onHead(() => seen.push([...calls]));
    await append(log.writer, [makeEntry(1)]);
    expect(seen).toEqual([["write 1 at 0", "durable"]]);
  });
});

test("a listener that fails harms neither the commit nor the others, and is told of", async () => {
  await withLog({}, async (log) => {
    let heard = 0;
    log.reader.onHead(() => {
      throw new Error("its own mistake");
    });
    log.reader.onHead(() => heard++);
    expect(await append(log.writer, [makeEntry(1)])).toBe(1);
    expect(await append(log.writer, [makeEntry(2)])).toBe(2);
    expect(heard).toBe(2);
    expect(log.state.faults.at(-1)).toBe("a listener of the head failed: its own mistake");
  });
});
