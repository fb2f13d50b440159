import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { DiskFull, NotFound, PermissionDenied } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { type Authorize, allowAll, SERVER_SUBJECT } from "../security/authorize.ts";
import { MemoryLog } from "../stream/testing/memory-log.ts";
import { matchesGlob } from "../stream/glob.ts";
import { type Numbering, ProducerGap, type SliceOutcome } from "./ingest.ts";
import type { Route } from "./routing.ts";
import type { EntrySpans } from "./write-request.ts";
import { createWriteTargets, type WriteTargets } from "./write-targets.ts";

const ROUTES: readonly Route[] = [
  { applications: "pay-*", log: "audit" },
  { applications: "pay-never", log: "default" },
  { applications: "?", log: "bulk" },
];

class Place {
  readonly logs = {
    default: new MemoryLog("default"),
    audit: new MemoryLog("audit"),
    bulk: new MemoryLog("bulk"),
  };
  targets: WriteTargets;
  readonly #authorize: Authorize;

  constructor(authorize: Authorize = allowAll) {
    this.#authorize = authorize;
    this.targets = this.#open();
  }

  /** What the server knows beside its logs is gone. */
  restart(): void {
    this.targets = this.#open();
  }

  async write(
    spans: EntrySpans,
    numbering?: Numbering,
    options: { readonly log?: string; readonly atBound?: "wait" | "refuse" } = {},
  ): Promise<SliceOutcome[]> {
    const { log = "", atBound = "refuse" } = options;
    const outcomes: SliceOutcome[] = [];
    const target = this.targets.find(SERVER_SUBJECT, log);
    for await (const outcome of target.append(spans, numbering, { atBound })) outcomes.push(outcome);
    return outcomes;
  }

  messages(): Record<string, string[]> {
    return Object.fromEntries(Object.values(this.logs).map((log) => [log.name, stored(log)]));
  }

  #open(): WriteTargets {
    const logs = Object.values(this.logs).map((log) => ({ name: log.name, reader: log, writer: log }));
    return createWriteTargets({
      logs,
      routes: ROUTES,
      authorize: this.#authorize,
      clock: new ManualClock(),
      limits: DEFAULT_LIMITS,
    });
  }
}

function stored(log: MemoryLog): string[] {
  return Array.from({ length: log.head.sequence }, (_, i) => {
    return fromBinary(LogEntrySchema, log.frame(i + 1).subarray(5)).message;
  });
}

function spansOf(...entries: readonly (MessageInitShape<typeof LogEntrySchema> | Uint8Array)[]): EntrySpans {
  const parts = entries.map((entry) =>
    entry instanceof Uint8Array ? entry : toBinary(LogEntrySchema, create(LogEntrySchema, entry)),
  );
  let at = 0;
  const starts = parts.map(({ length }) => (at += length) - length);
  return { bytes: Buffer.concat(parts), starts, ends: starts.map((start, i) => start + parts[i]!.length) };
}

/** "pay-1:a" is message "a" of application "pay-1". */
const lines = (...texts: readonly string[]): EntrySpans =>
  spansOf(...texts.map((text) => ({ application: text.split(":")[0]!, message: text.split(":")[1]! })));
const from = (first: number, settled = 0): Numbering => ({ producer: "p", first, settled });
const isFulfilled = (promise: Promise<unknown>): Promise<boolean> =>
  promise.then(
    () => true,
    () => false,
  );
const BROKEN = new Uint8Array([0xff]);

test.each([
  ["", "", true],
  ["", "a", false],
  ["*", "", true],
  ["pay-*", "pay-", true],
  ["pay-*", "pay", false],
  ["*-api", "web-api-api", true],
  ["a*b*c", "a1b2b3c", true],
  ["a*b*c", "a1b2b3d", false],
  ["?", "é", true],
  ["?", "", false],
  ["a.c", "abc", false],
  ["[a]", "a", false],
])("the pattern %j against %j: %s", (pattern, text, expected) => {
  expect(matchesGlob(pattern, text)).toBe(expected);
});

test("a pattern means what the regular expression made of it means", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 12 });
  fc.assert(
    fc.property(letters, letters, (pattern, text) => {
      const expression = pattern.replaceAll("?", ".").replaceAll("*", "(?:.*)");
      expect(matchesGlob(pattern, text)).toBe(new RegExp(`^${expression}$`, "su").test(text));
    }),
    { numRuns: Math.ceil(2000 * inject("propertyScale")) },
  );
});

describe("entries of a request that names no log", () => {
  test("go where the first route that matches leads, each by its own application, and else to default", async () => {
    const place = new Place();
    const [outcome] = await place.write(lines("pay-1:1", "web:2", "a:3", "pay-never:4", "web:5", ":6"));
    expect(place.messages()).toEqual({ audit: ["1", "4"], bulk: ["3"], default: ["2", "5", "6"] });
    expect(outcome).toMatchObject({ count: 6, accepted: 6, duplicates: 0, rejected: [], lastSequence: 3 });
    expect(outcome!.reader).toBe(place.logs.default);
  });

  test("with an application twice go by the last one, as it is read later", async () => {
    const place = new Place();
    const twice = [{ application: "pay-1" }, { application: "web", message: "m" }].map((entry) =>
      toBinary(LogEntrySchema, create(LogEntrySchema, entry)),
    );
    await place.write(spansOf(Buffer.concat(twice)));
    expect(place.messages()).toEqual({ audit: [], bulk: [], default: ["m"] });
  });

  test("are rejected by their places in the request, whichever log they were for", async () => {
    const place = new Place();
    const spans = spansOf(
      { application: "web", message: "1" },
      { application: "pay-1", sequence: 1n },
      BROKEN,
      { application: "pay-1", message: "2" },
      { application: "web", sequence: 1n },
    );
    const [outcome] = await place.write(spans);
    expect(outcome).toMatchObject({ count: 5, accepted: 2, lastPlace: 3, lastSequence: 1 });
    expect(outcome!.reader).toBe(place.logs.audit);
    expect(outcome!.rejected.map(({ index, reason }) => [index, reason])).toEqual([
      [1, "RESERVED_FIELD"],
      [2, "MALFORMED"],
      [4, "RESERVED_FIELD"],
    ]);
  });

  test("are durable when all their logs say so", async () => {
    const place = new Place();
    place.logs.audit.isAutomatic = false;
    const [outcome] = await place.write(lines("web:1", "pay-1:2", "web:3"));
    let isDurable = false;
    const heard = outcome!.durable.then(() => (isDurable = true));
    await new Promise((resolve) => void setImmediate(resolve));
    expect(isDurable).toBe(false);
    place.logs.audit.commit();
    await heard;
  });

  test.each(["wait", "refuse"] as const)("are not split when one of their logs takes nothing (%s)", async (atBound) => {
    const place = new Place();
    place.logs.audit.hasRoom = () => {
      throw new DiskFull("audit");
    };
    await expect(place.write(lines("web:1", "pay-1:2"), undefined, { atBound })).rejects.toBeInstanceOf(DiskFull);
    await place.write(lines("web:3"), undefined, { atBound });
    expect(place.messages()).toEqual({ audit: [], bulk: [], default: ["3"] });
  });

  test("are refused whole when one of their logs has no room; a stream waits for it", async () => {
    const place = new Place();
    const { promise, resolve } = Promise.withResolvers<void>();
    place.logs.audit.roomGate = promise;
    const refused = place.write(lines("web:1", "pay-1:2"));
    await expect(refused).rejects.toMatchObject({ name: "LimitExceeded", facts: { retryAfterMs: 100 } });
    expect(place.messages()).toEqual({ audit: [], bulk: [], default: [] });
    const waiting = place.write(lines("web:1", "pay-1:2"), undefined, { atBound: "wait" });
    place.logs.audit.roomGate = undefined;
    resolve();
    await waiting;
    expect(place.messages()).toEqual({ audit: ["2"], bulk: [], default: ["1"] });
  });

  test("are kept from logs that are not for the caller; a log that is named is asked for by that name", async () => {
    const asked: string[] = [];
    const place = new Place((_, action, { name }) => {
      asked.push(`${action} ${name}`);
      if (name === "audit") throw new PermissionDenied();
    });
    await place.write(lines("web:1", "a:2", "web:3"));
    expect(asked).toEqual(["write default", "write bulk"]);
    await expect(place.write(lines("web:4", "pay-1:5"))).rejects.toBeInstanceOf(PermissionDenied);
    await expect(place.write(lines("web:6"), undefined, { log: "audit" })).rejects.toBeInstanceOf(PermissionDenied);
    await expect(place.write(lines("web:6"), undefined, { log: "other" })).rejects.toBeInstanceOf(NotFound);
    expect(place.messages()).toEqual({ audit: [], bulk: ["2"], default: ["1", "3"] });
  });
});

test("a request that names its log is not routed", async () => {
  const place = new Place();
  await place.write(lines("pay-1:1"), undefined, { log: "bulk" });
  expect(place.messages()).toEqual({ audit: [], bulk: ["1"], default: [] });
});

describe("a producer whose entries go to several logs", () => {
  test("has each of them once, in order in its log, also when a crash left half of a request", async () => {
    const place = new Place();
    place.logs.audit.isAutomatic = false;
    const [before] = await place.write(lines("web:1", "pay-1:2", "web:3", "pay-1:4"), from(1));
    const failed = expect(before!.durable).rejects.toBeInstanceOf(DiskFull);
    place.logs.audit.failPending(new DiskFull("audit"));
    await failed;
    place.logs.audit.isAutomatic = true;
    place.restart();
    const [again] = await place.write(lines("web:1", "pay-1:2", "web:3", "pay-1:4", "a:5"), from(1));
    expect(place.messages()).toEqual({ audit: ["2", "4"], bulk: ["5"], default: ["1", "3"] });
    expect(again).toMatchObject({ accepted: 5, duplicates: 2, lastSequence: 1 });
    const [third] = await place.write(lines("web:1", "pay-1:2", "web:3", "pay-1:4", "a:5"), from(1));
    expect(third).toMatchObject({ accepted: 5, duplicates: 5 });
  });

  test("goes on in a log of which the requests between had nothing", async () => {
    const place = new Place();
    await place.write(lines("web:1", "pay-1:2"), from(1));
    await place.write(lines("web:3"), from(3));
    await place.write(lines("web:4", "web:5"), from(4));
    await place.write(lines("pay-1:6"), from(6));
    await expect(place.write(lines("pay-1:9"), from(9))).rejects.toBeInstanceOf(ProducerGap);
    expect(place.messages()).toEqual({ audit: ["2", "6"], bulk: [], default: ["1", "3", "4", "5"] });
  });

  test("may not go past what failed in one log, though the other log has what belongs to it", async () => {
    const place = new Place();
    await place.write(lines("web:1", "pay-1:2"), from(1));
    place.logs.audit.isAutomatic = false;
    const [lost] = await place.write(lines("pay-1:3", "web:4"), from(3));
    const failed = expect(lost!.durable).rejects.toBeInstanceOf(DiskFull);
    place.logs.audit.failPending(new DiskFull("audit"));
    await failed;
    place.logs.audit.isAutomatic = true;
    await expect(place.write(lines("pay-1:5"), from(5))).rejects.toBeInstanceOf(ProducerGap);
    await place.write(lines("pay-1:3", "web:4", "pay-1:5"), from(3));
    expect(place.messages()).toEqual({ audit: ["2", "3", "5"], bulk: [], default: ["1", "4"] });
  });

  test("may not begin past what failed when it was new to that log", async () => {
    const place = new Place();
    place.logs.audit.isAutomatic = false;
    const [first] = await place.write(lines("pay-1:1"), from(1));
    const failed = expect(first!.durable).rejects.toBeInstanceOf(DiskFull);
    place.logs.audit.failPending(new DiskFull("audit"));
    await failed;
    place.logs.audit.isAutomatic = true;
    await expect(place.write(lines("pay-1:2"), from(2))).rejects.toBeInstanceOf(ProducerGap);
    await place.write(lines("pay-1:1", "pay-1:2"), from(1));
    expect(stored(place.logs.audit)).toEqual(["1", "2"]);
  });

  test("after a restart says what is settled, when a log has seen nothing of it for long", async () => {
    const place = new Place();
    await place.write(lines("pay-1:1"), from(1));
    await place.write(lines("web:2", "web:3"), from(2));
    place.restart();
    await expect(place.write(lines("pay-1:4"), from(4))).rejects.toBeInstanceOf(ProducerGap);
    await place.write(lines("pay-1:4"), from(4, 3));
    expect(stored(place.logs.audit)).toEqual(["1", "4"]);
  });

  // A writer that sends batch after batch, and after a failure goes on at the first entry that was not answered.
  test("writes everything once and in order, whatever fails", async () => {
    const applications = fc.constantFrom("web", "pay-1", "a");
    const batch = fc.array(applications, { minLength: 1, maxLength: 4 });
    const fate = fc.constantFrom("good", "good", "audit fails", "default fails", "bulk fails", "restart");
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(batch, fate), { minLength: 1, maxLength: 12 }), async (steps) => {
        const place = new Place();
        const all = steps.flatMap(([each]) => each).map((application, i) => `${application}:${i + 1}`);
        let at = 0;
        let answered = 0;
        for (const [each, what] of steps) {
          at += each.length;
          if (what === "restart") place.restart();
          const failing = Object.values(place.logs).find(({ name }) => what.startsWith(`${name} `));
          for (const log of Object.values(place.logs)) log.isAutomatic = log !== failing;
          const [outcome] = await place.write(lines(...all.slice(answered, at)), from(answered + 1, answered));
          failing?.failPending(new DiskFull(failing.name));
          if (await isFulfilled(outcome!.durable)) answered = at;
        }
        for (const log of Object.values(place.logs)) log.isAutomatic = true;
        if (answered < at) await place.write(lines(...all.slice(answered)), from(answered + 1, answered));
        const expected = (application: string) =>
          all.filter((text) => text.startsWith(`${application}:`)).map((text) => text.split(":")[1]!);
        expect(place.messages()).toEqual({
          audit: expected("pay-1"),
          bulk: expected("a"),
          default: expected("web"),
        });
      }),
      { numRuns: Math.ceil(300 * inject("propertyScale")) },
    );
  });
});
