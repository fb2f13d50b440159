// Redis as a peer, for BullMQ: every answered command is on disk.

import { parseForeignOptions, runForeignServer } from "./foreign-server.ts";

const { version, parentFolder } = parseForeignOptions();

await runForeignServer({
  name: "redis",
  version,
  parentFolder,
  prepare: async ({ folder, port }) => {
    const settings = {
      bind: "127.0.0.1",
      port: `${port}`,
      dir: folder,
      appendonly: "yes",
      appendfsync: "always",
      save: "",
    };
    return {
      command: "redis-server",
      arguments: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    };
  },
});
