// What the tests of a file share: a server in a process of its own, a client of it, a folder.
import { connect, type SluiceClient } from "@sluice/client";
import type { QueueCounts } from "@sluice/api";
import { type ServerProcess, startServer } from "./server-process.ts";
import { openTemporaryFolder } from "./temporary-folder.ts";

export interface StartedSluice extends AsyncDisposable {
  /** Of the server, and for what the tests keep. */
  readonly folder: string;
  readonly server: ServerProcess;
  readonly client: SluiceClient;
  /** How many jobs a queue has in which state. */
  countsOf(queue: string): Promise<QueueCounts>;
}

/** @param name tells its folder from others' */
export async function startSluice(name: string): Promise<StartedSluice> {
  await using opened = new AsyncDisposableStack();
  const { path: folder } = opened.use(await openTemporaryFolder(name));
  const server = opened.use(await startServer([], { folder }));
  const client = connect(server.address);
  opened.defer(() => client.close());
  const kept = opened.move();
  return {
    folder,
    server,
    client,
    countsOf: async (queue) => (await client.queues.get(queue)).counts!,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}
