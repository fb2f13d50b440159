import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { ListLogsRequestSchema } from "@sluice/api";
import { expect, test } from "vitest";
import { PermissionDenied } from "../errors.ts";
import { type Authorize, SERVER_SUBJECT } from "../security/authorize.ts";
import { systemClock } from "../store/clock.ts";
import { nodeFileSystem } from "../store/file-system-node.ts";
import { openLog } from "../store/log.ts";
import { formatCursor } from "../stream/cursor.ts";
import { entryFrameCodec } from "./frame-codec.ts";
import { createLogService, serveLog } from "./service.ts";
import { FakeCall } from "../stream/testing/fake-call.ts";

test("logs are listed by name, with what they hold and why they take nothing; others' logs are not there", async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "sluice-list-"));
  resources.defer(() => rm(folder, { recursive: true }));
  const engine = { fileSystem: nodeFileSystem, clock: systemClock, codec: entryFrameCodec };
  const open = async (name: string, options = {}) =>
    resources.use(await openLog({ folder: join(folder, name), name, options, ...engine }));
  const [main, audit, secret] = [
    await open("default"),
    await open("audit", { quotaBytes: 50_000 }),
    await open("secret"),
  ];
  const authorize: Authorize = (_subject, action, { name }) => {
    if (action === "describe" && name === "secret") throw new PermissionDenied();
  };
  const logs = [serveLog("default", main), serveLog("audit", audit, 50_000), serveLog("secret", secret)];
  const service = createLogService({ logs, authorize, clock: systemClock });
  const { listLogs } = service.handlers;
  if (typeof listLogs !== "function") throw new Error("listLogs takes messages");
  const list = () => listLogs(create(ListLogsRequestSchema), new FakeCall());

  await service.ingest(SERVER_SUBJECT, { log: "audit", entries: [{ message: "1" }, { message: "2" }] });
  main.hold("the disk has 5 bytes free, less than 7");
  expect(await list()).toEqual({
    logs: [
      {
        name: "audit",
        entries: 2n,
        bytes: BigInt(audit.state.diskBytes),
        quotaBytes: 50_000n,
        headCursor: formatCursor("audit", { epoch: 1, sequence: 2 }),
        refusal: "",
      },
      {
        name: "default",
        entries: 0n,
        bytes: 0n,
        quotaBytes: 0n,
        headCursor: formatCursor("default", { epoch: 1, sequence: 0 }),
        refusal:
          'Cannot append to log "default": the disk has 5 bytes free, less than 7; free space or lower the retention',
      },
    ],
  });
  expect(audit.state.diskBytes).toBeGreaterThan(100);
});
