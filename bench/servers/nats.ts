// NATS as a peer, with JetStream: every stored message is synced before it is acknowledged.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseForeignOptions, runForeignServer } from "./foreign-server.ts";

const { program, ...options } = parseForeignOptions();

await runForeignServer({
  name: "nats",
  ...options,
  prepare: async ({ folder, port }) => {
    const configuration = `
listen: "127.0.0.1:${port}"
log_file: "${folder}/log"
jetstream { store_dir: "${folder}/store", sync_interval: always }
`;
    await writeFile(join(folder, "nats.conf"), configuration);
    return { command: program, arguments: ["-c", join(folder, "nats.conf")] };
  },
});
