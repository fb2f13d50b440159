// Prometheus as a peer: it takes OTLP and remote write, and answers queries, over HTTP.

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
  name: "prometheus",
  version: values.version,
  parentFolder: values.data,
  prepare: async ({ folder, port }) => {
    const configuration = join(folder, "prometheus.yml");
    await writeFile(configuration, "global: {}\n");
    return {
      command: values.program,
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
