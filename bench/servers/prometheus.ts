// Prometheus as a peer: it takes OTLP and remote write, and answers queries, over HTTP.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseForeignOptions, runForeignServer } from "./foreign-server.ts";

const { program, ...options } = parseForeignOptions();

await runForeignServer({
  name: "prometheus",
  ...options,
  prepare: async ({ folder, port }) => {
    const configuration = join(folder, "prometheus.yml");
    await writeFile(configuration, "global: {}\n");
    return {
      command: program,
      arguments: [
        `--config.file=${configuration}`,
        `--storage.tsdb.path=${join(folder, "tsdb")}`,
        `--web.listen-address=127.0.0.1:${port}`,
        "--web.enable-otlp-receiver",
        "--web.enable-remote-write-receiver",
        "--log.level=error",
      ],
    };
  },
});
