// Redis as a peer, for BullMQ: every answered command is on disk.

import { parseArgs } from "node:util";
import { runForeignServer } from "./foreign-server.ts";

const { values } = parseArgs({
  options: { data: { type: "string", default: "" }, version: { type: "string", default: "" } },
});

await runForeignServer({
  name: "redis",
  version: values.version,
  parentFolder: values.data,
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
