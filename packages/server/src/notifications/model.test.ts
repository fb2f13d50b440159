// Random lives of a store are as those of the model, also when the store is opened again and again, from its checkpoint or without.
import fc from "fast-check";
import { expect, inject, test } from "vitest";
import { command, InboxLife, SHARED_MAX } from "./testing/inbox-life.ts";
import { ModelDevice } from "./testing/model-device.ts";
import { SMALL_JOURNAL, StorePlace } from "./testing/store-place.ts";

const MIB = 1024 * 1024;

test("every device ends with the model's inbox and counts, gets nothing twice, and is told of every removal", async () => {
  const journal = {
    limits: { sharedItemsMax: SHARED_MAX },
    journal: { ...SMALL_JOURNAL, segmentBytes: MIB },
    checkpointRecords: 30,
  };
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
      await using place = await StorePlace.make();
      const life = new InboxLife(place, journal);
      try {
        await life.begin();
        for (const each of commands) await life.run(each);
        life.check({ areRemovalsTold: true });
      } finally {
        await life.end();
      }
      expect(place.faults).toEqual([]);
    }),
    { endOnFailure: true, numRuns: Math.ceil(25 * inject("propertyScale")) },
  );
}, 120_000);

test("so it does when the journal is cleaned all the time, and opened again", async () => {
  const journal = {
    limits: { sharedItemsMax: SHARED_MAX },
    journal: { ...SMALL_JOURNAL, segmentBytes: 600 },
    checkpointRecords: 20,
  };
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 60 }), async (commands) => {
      await using place = await StorePlace.make();
      const life = new InboxLife(place, journal);
      try {
        await life.begin();
        for (const each of commands) await life.run(each);
        await life.restart();
        // Devices that know nothing: what was removed long ago is not told for ever.
        life.devices = life.devices.map(({ user: owner, name }) => new ModelDevice(owner, `${name}-new`));
        life.check({ areRemovalsTold: false });
        await life.restart();
        life.check({ areRemovalsTold: false });
      } finally {
        await life.end();
      }
      expect(place.faults).toEqual([]);
    }),
    { endOnFailure: true, numRuns: Math.ceil(8 * inject("propertyScale")) },
  );
}, 120_000);
