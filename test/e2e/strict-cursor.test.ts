// A cursor whose place is gone: told as a gap, or, to who asks for strictness, refused; over a real socket, with a real
// retention.
import { Code, ErrorInfoSchema, RpcError } from "@sluice/rpc";
import { GapReason } from "@sluice/api";
import { beforeAll, afterAll, expect, test } from "vitest";
import { collect, type LogClient, openLogClient } from "../support/log-client.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let server: ServerProcess;
let client: LogClient;
/** An entry that retention has removed. */
let removed: { readonly cursor: string; readonly sequence: bigint };

beforeAll(async () => {
  folder = await openTemporaryFolder("strict-cursor");
  const words = ["--segment-bytes", "64KiB", "--limits-entry-bytes-max", "16KiB", "--retain-bytes", "256KiB"];
  server = await startServer(words, { folder: folder.path });
  client = openLogClient(server.address);
  await client.write({ application: "first", message: "gone before long" });
  const [first] = await collect(client.logs.streamLogs({ application: "first", controlFrames: false }));
  if (first === undefined) throw new Error("What was written is not there");
  removed = first;
  for (let i = 0; i < 30; i += 1) {
    await client.write(...Array.from({ length: 50 }, () => ({ application: "bulk", message: "x".repeat(1000) })));
  }
  await server.waitFor("stderr", /removed a segment.* first=1 .*reason=bytes/u);
});

afterAll(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** Through both services, which differ in whether they send controls. */
const services = () => [client.logs, client.seed];

test("strict_cursor: an expired cursor is OUT_OF_RANGE, with the cursor to go on after, and the count", async () => {
  for (const service of services()) {
    const error: unknown = await collect(service.streamLogs({ resumeAfter: removed.cursor, strictCursor: true })).then(
      () => new Error("The stream ended well"),
      (each: unknown) => each,
    );
    if (!(error instanceof RpcError)) throw error;
    expect(error.code).toBe(Code.OUT_OF_RANGE);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([
      {
        reason: "CURSOR_EXPIRED",
        domain: "sluice",
        metadata: {
          after_cursor: removed.cursor,
          cursor: expect.stringMatching(/./u) as string,
          count: expect.stringMatching(/^[1-9]/u) as string,
          gap_reason: "RETENTION",
        },
      },
    ]);
  }
});

test("without it the same cursor is told as a gap of what is gone, and the stream goes on behind it", async () => {
  const [gap, ...rest] = await collect(client.logs.streamLogs({ resumeAfter: removed.cursor, limit: 3n }));
  expect(gap?.control?.kind).toMatchObject({ case: "gap", value: { reason: GapReason.RETENTION } });
  const count = gap?.control?.kind.case === "gap" ? gap.control.kind.value.count : 0n;
  expect(count).toBeGreaterThan(0n);
  expect(rest.map(({ sequence }) => sequence - removed.sequence - count)).toEqual([1n, 2n, 3n]);
});

test("strict_cursor takes nothing from a cursor that is still good", async () => {
  const [newest] = await collect(client.logs.streamLogs({ tailLines: 2n, controlFrames: false }));
  // The server's own entries may come behind the one that is waited for.
  const [next] = await collect(
    client.logs.streamLogs({ resumeAfter: newest?.cursor ?? "", strictCursor: true, controlFrames: false }),
  );
  expect(next?.sequence).toBe((newest?.sequence ?? 0n) + 1n);
});
