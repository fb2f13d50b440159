import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FakeFileSystem } from "../support/fake-file-system.ts";
import {
  type DictionaryOptions,
  type OpenDictionary,
  openDictionary,
} from "../../packages/server/src/store/dictionary.ts";
import { loadDictionary } from "../../packages/server/src/store/dictionary-file.ts";

const FOLDER = "/log";
const KIND = 1;

/** A dictionary on a disk of its own, in a log whose ends the test moves. */
class Place {
  readonly disk = new FakeFileSystem(() => 0.5);
  readonly log = { first: 1, next: 1 };
  readonly opened: OpenDictionary[] = [];

  async open(options: Partial<DictionaryOptions> = {}): Promise<OpenDictionary> {
    await this.disk.fileSystem.makeFolder(FOLDER);
    const { log } = this;
    const dictionary = await openDictionary({
      folder: FOLDER,
      fileSystem: this.disk.fileSystem,
      log: "default",
      next: () => log.next,
      first: () => log.first,
      options,
    });
    this.opened.push(dictionary);
    return dictionary;
  }

  files(): string[] {
    return this.disk.names(FOLDER);
  }
}

let place: Place;
beforeEach(() => {
  place = new Place();
});
afterEach(async () => {
  for (const dictionary of place.opened) await dictionary[Symbol.asyncDispose]();
});

/** Takes a text in, as a write does that is over at once. */
async function intern(dictionary: OpenDictionary, text: string, kind = KIND): Promise<number | undefined> {
  using lease = dictionary.lease();
  return await lease.intern(kind, Buffer.from(text));
}

function textOf(dictionary: OpenDictionary, id: number | undefined): string | undefined {
  const entry = id === undefined ? undefined : dictionary.find(id);
  return entry && Buffer.from(entry.bytes).toString();
}

describe("a dictionary", () => {
  test("gives equal bytes of a kind one id, and knows them by it, also after the next start", async () => {
    const dictionary = await place.open();
    const shop = await intern(dictionary, "shop");
    expect(await intern(dictionary, "shop")).toBe(shop);
    const others = [
      await intern(dictionary, "shop", 2),
      await intern(dictionary, "cart"),
      await intern(dictionary, ""),
    ];
    expect(new Set([shop, ...others]).size).toBe(4);
    await dictionary[Symbol.asyncDispose]();
    const again = await place.open();
    expect(textOf(again, shop)).toBe("shop");
    expect(again.find(others[0]!)).toMatchObject({ kind: 2 });
    expect([...again.entries()]).toHaveLength(4);
    expect(await intern(again, "shop")).toBe(shop);
  });

  test("answers at once for what it has on disk, and waits for the disk otherwise", async () => {
    const dictionary = await place.open();
    using lease = dictionary.lease();
    const first = lease.intern(KIND, Buffer.from("shop"));
    expect(first).toBeInstanceOf(Promise);
    expect(lease.intern(KIND, Buffer.from("shop"))).toBeInstanceOf(Promise);
    const id = await first;
    expect(lease.intern(KIND, Buffer.from("shop"))).toBe(id);
  });

  test("writes what is asked for at the same time together, and each once", async () => {
    const dictionary = await place.open();
    await intern(dictionary, "begin");
    let writes = 0;
    place.disk.plan = ({ kind }) => {
      if (kind === "write") writes++;
      return "done";
    };
    const ids = await Promise.all(Array.from({ length: 40 }, (_, i) => intern(dictionary, `resource ${i % 10}`)));
    expect(new Set(ids).size).toBe(10);
    expect(writes).toBe(1);
    const [file] = await loadDictionary(place.disk.fileSystem, FOLDER);
    expect(file?.entries).toHaveLength(11);
  });

  test("that is full says so, until retention has made room", async () => {
    const dictionary = await place.open({ entriesMax: 4, fileEntriesMax: 2, entryBytesMax: 10 });
    expect(await intern(dictionary, "too long a resource")).toBeUndefined();
    const ids: (number | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      ids.push(await intern(dictionary, `r${i}`));
      place.log.next += 10;
    }
    expect(await intern(dictionary, "r4")).toBeUndefined();
    expect(await intern(dictionary, "r0")).toBe(ids[0]);
    // The second file began at 21: what came before is gone, and with it the first file.
    place.log.first = 21;
    await expect.poll(() => intern(dictionary, "r4")).toBeTypeOf("number");
    expect(textOf(dictionary, ids[0])).toBe("r0");
    expect(textOf(dictionary, ids[1])).toBeUndefined();
    expect(textOf(dictionary, ids[2])).toBe("r2");
  });

  test("keeps what a write still uses when a new file begins", async () => {
    const dictionary = await place.open({ fileEntriesMax: 2 });
    using lease = dictionary.lease();
    const used = await lease.intern(KIND, Buffer.from("used"));
    const idle = await intern(dictionary, "idle");
    place.log.next = 50;
    await intern(dictionary, "third");
    place.log.first = 50;
    await intern(dictionary, "fourth");
    await intern(dictionary, "fifth");
    expect(place.files()).not.toContain("0000000001.dictionary");
    expect(textOf(dictionary, idle)).toBeUndefined();
    await dictionary[Symbol.asyncDispose]();
    expect(textOf(await place.open(), used)).toBe("used");
  });

  test("of many files becomes one of few when it is opened, and forgets nothing", async () => {
    const ids: (number | undefined)[] = [];
    for (let i = 0; i < 9; i++) {
      const dictionary = await place.open({ filesMax: 4 });
      ids.push(await intern(dictionary, `r${i}`));
      place.log.next += 1;
      await dictionary[Symbol.asyncDispose]();
    }
    const dictionary = await place.open({ filesMax: 4 });
    expect(place.files().length).toBeLessThanOrEqual(5);
    expect(ids.map((id) => textOf(dictionary, id))).toEqual(ids.map((_, i) => `r${i}`));
  });

  test("goes on after a disk that was full", async () => {
    const dictionary = await place.open();
    const known = await intern(dictionary, "known");
    place.disk.plan = ({ kind }) => (kind === "write" ? { code: "ENOSPC" } : "done");
    await expect(intern(dictionary, "new")).rejects.toMatchObject({ name: "DiskFull" });
    expect(await intern(dictionary, "known")).toBe(known);
    place.disk.plan = () => "done";
    const id = await intern(dictionary, "new");
    await dictionary[Symbol.asyncDispose]();
    const again = await place.open();
    expect([textOf(again, known), textOf(again, id)]).toEqual(["known", "new"]);
  });
});

describe("a damaged file", () => {
  const FILE = `${FOLDER}/0000000001.dictionary`;

  async function write(...texts: string[]): Promise<(number | undefined)[]> {
    const dictionary = await place.open();
    const ids: (number | undefined)[] = [];
    for (const text of texts) ids.push(await intern(dictionary, text));
    await dictionary[Symbol.asyncDispose]();
    return ids;
  }

  test("loses what is damaged and nothing else, and heals when it comes again", async () => {
    const [a, b, c] = await write("aaaa", "bbbb", "cccc");
    place.disk.damage(FILE, place.disk.bytesOf(FILE).indexOf("bbbb"));
    const dictionary = await place.open();
    expect([a, b, c].map((id) => textOf(dictionary, id))).toEqual(["aaaa", undefined, "cccc"]);
    expect((await loadDictionary(place.disk.fileSystem, FOLDER))[0]?.damagedRecords).toBe(1);
    expect(await intern(dictionary, "bbbb")).toBe(b);
    expect(textOf(dictionary, b)).toBe("bbbb");
  });

  test("with a damaged header keeps its entries", async () => {
    const [a] = await write("aaaa");
    place.disk.damage(FILE, 3);
    const dictionary = await place.open();
    expect(textOf(dictionary, a)).toBe("aaaa");
    expect((await loadDictionary(place.disk.fileSystem, FOLDER))[0]?.damagedRecords).toBe(1);
  });

  test("that ends within a record is what a crash leaves, and no damage", async () => {
    const [a, b] = await write("aaaa", "bbbb");
    place.disk.shorten(FILE, place.disk.bytesOf(FILE).length - 2);
    const dictionary = await place.open();
    expect([textOf(dictionary, a), textOf(dictionary, b)]).toEqual(["aaaa", undefined]);
    expect((await loadDictionary(place.disk.fileSystem, FOLDER))[0]?.damagedRecords).toBe(0);
  });

  test("that is lost is begun anew: the same resource has the same id", async () => {
    const [a] = await write("aaaa");
    await place.disk.fileSystem.remove(FILE);
    const dictionary = await place.open();
    expect(textOf(dictionary, a)).toBeUndefined();
    expect(await intern(dictionary, "aaaa")).toBe(a);
  });
});
