// A server for all tests of a file: a process of its own, on files of its own, and a client to it.
import { afterAll, beforeAll } from "vitest";
import { type LogClient, openLogClient } from "./log-client.ts";
import { startServer } from "./server-process.ts";
import { openTemporaryFolder } from "./temporary-folder.ts";

/** There from the file's first test on. */
export interface LogServer {
  readonly client: LogClient;
  /** "127.0.0.1:41234". */
  readonly address: string;
}

/**
 * Called at the top of a test file.
 * @param name for the folder, for whoever finds it after a crash
 * @param words settings of `sluice serve`; the client has no TLS
 */
export function useLogServer(name: string, words: readonly string[] = []): LogServer {
  const resources = new AsyncDisposableStack();
  let started: LogServer | undefined;
  beforeAll(async () => {
    const folder = resources.use(await openTemporaryFolder(name));
    const { address } = resources.use(await startServer(words, { folder: folder.path }));
    started = { address, client: resources.use(openLogClient(address)) };
  }, 60_000);
  afterAll(() => resources.disposeAsync());

  const running = (): LogServer => {
    if (started === undefined) throw new Error("The server runs during tests only");
    return started;
  };
  return {
    get client() {
      return running().client;
    },
    get address() {
      return running().address;
    },
  };
}
