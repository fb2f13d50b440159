import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { ExportLogsServiceRequestSchema, OtlpLogBatchSchema } from "@sluice/api";
import fc from "fast-check";
import { describe, expect, inject, test } from "vitest";
import { otlpContent } from "./testing/otlp-content.ts";
import { parseCursor } from "../stream/cursor.ts";
import { otlpRequest } from "./testing/arbitrary-otlp.ts";
import { MemoryTarget } from "./testing/export-to-memory.ts";
import { SDK_EXPORT } from "./testing/sdk-export.ts";

function encode(init: MessageInitShape<typeof ExportLogsServiceRequestSchema>): Uint8Array {
  return toBinary(ExportLogsServiceRequestSchema, create(ExportLogsServiceRequestSchema, init));
}

describe("what was sent by OTLP", () => {
  test("comes back: every field of every record, resource and scope", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(otlpRequest, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 12 }),
        fc.boolean(),
        async (requests, entriesPerPiece, isFull) => {
          const target = new MemoryTarget();
          target.dictionary.isFull = isFull;
          for (const request of requests) {
            expect(await target.export(toBinary(ExportLogsServiceRequestSchema, request))).toEqual({});
          }
          const batches = target.readBack(entriesPerPiece);
          expect(otlpContent(batches.flatMap((batch) => batch.resourceLogs))).toEqual(
            otlpContent(requests.flatMap((request) => request.resourceLogs)),
          );
          expect(target.dictionary.openLeases).toBe(0);
        },
      ),
      { numRuns: Math.ceil(150 * inject("propertyScale")), endOnFailure: true },
    );
  });

  test("comes back the same a second time, as what came back is sent again", async () => {
    await fc.assert(
      fc.asyncProperty(otlpRequest, async (request) => {
        const first = new MemoryTarget();
        await first.export(toBinary(ExportLogsServiceRequestSchema, request));
        const second = new MemoryTarget();
        for (const { resourceLogs } of first.readBack()) await second.export(encode({ resourceLogs }));
        const [once, twice] = [first, second].map((target) =>
          otlpContent(target.readBack().flatMap((b) => b.resourceLogs)),
        );
        expect(twice).toEqual(once);
      }),
      { numRuns: Math.ceil(50 * inject("propertyScale")) },
    );
  });

  test("comes in messages that every client can take, each with its cursor", async () => {
    const text = (value: string) => ({ value: { case: "stringValue" as const, value } });
    const target = new MemoryTarget();
    const large = "x".repeat(100_000);
    const sent = Array.from({ length: 40 }, (_, i) => ({
      // Resources count as well: here they are half of it.
      resource: { attributes: [{ key: "k", value: text(`${i} ${"y".repeat(60_000)}`) }] },
      scopeLogs: [{ logRecords: [{ body: text(`${i} ${large}`) }] }],
    }));
    for (const each of sent) await target.export(encode({ resourceLogs: [each] }));
    const batches = target.readBack();
    expect(batches.flatMap(({ resourceLogs }) => resourceLogs)).toHaveLength(40);
    for (const batch of batches) expect(toBinary(OtlpLogBatchSchema, batch).length).toBeLessThan(1_300_000);
    const cursors = batches.map(({ cursor }) => parseCursor("default", cursor, "cursor").sequence);
    expect(cursors).toEqual(cursors.toSorted((a, b) => a - b));
    expect(cursors.at(-1)).toBe(40);
  });

  test("by the JavaScript SDK", async () => {
    const target = new MemoryTarget();
    await target.export(SDK_EXPORT);
    const [batch] = target.readBack();
    expect(batch?.resourceLogs).toHaveLength(1);
    expect(batch?.resourceLogs[0]?.scopeLogs.map(({ scope }) => `${scope?.name} ${scope?.version}`)).toEqual([
      "cart 1.2.3",
    ]);
    expect(batch?.resourceLogs[0]?.scopeLogs[0]?.logRecords[0]?.attributes.map(({ key }) => key)).toEqual([
      "http.status",
      "ok",
      "ratio",
      "big",
      "negative",
      "list",
      "nested",
      "bytes",
      "text",
      "nothing",
    ]);
  });
});
