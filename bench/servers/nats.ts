// NATS as a peer, with JetStream: every stored message is synced before it is acknowledged.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runForeignServer } from "./foreign-server.ts";

const { values } = parseArgs({
  options: {
    program: { type: "string", default: "" },
    data: { type: "string", default: "" },
    version: { type: "string", default: "" },
  },
});

await runForeignServer({
  name: "nats",
  version: values.version,
  parentFolder: values.data,
  prepare: async ({ folder, port }) => {
    const configuration = `
listen: "127.0.0.1:${port}"
log_file: "${folder}/log"
jetstream { store_dir: "${folder}/store", sync_interval: always }
`;
    await writeFile(join(folder, "nats.conf"), configuration);
    return { command: values.program, arguments: ["-c", join(folder, "nats.conf")] };
  },
});
