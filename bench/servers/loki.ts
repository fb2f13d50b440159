// Grafana Loki as a peer: a single binary with its file system store, default settings but for limits that would refuse what
// the benchmark sends. Its write-ahead log is not synced before it answers.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, parseForeignOptions, runForeignServer } from "./foreign-server.ts";

const { program, ...options } = parseForeignOptions();

await runForeignServer({
  name: "loki",
  ...options,
  prepare: async ({ folder, port }) => {
    const configuration = `
auth_enabled: false
target: all
server:
  http_listen_address: 127.0.0.1
  http_listen_port: ${port}
  grpc_listen_address: 127.0.0.1
  grpc_listen_port: ${await freePort()}
  log_level: error
common:
  instance_addr: 127.0.0.1
  path_prefix: ${folder}
  replication_factor: 1
  ring:
    kvstore: { store: inmemory }
  storage:
    filesystem:
      chunks_directory: ${folder}/chunks
      rules_directory: ${folder}/rules
schema_config:
  configs:
    - from: 2020-10-24
      store: tsdb
      object_store: filesystem
      schema: v13
      index: { prefix: index_, period: 24h }
ingester:
  wal: { enabled: true, dir: ${folder}/wal }
limits_config:
  allow_structured_metadata: true
  reject_old_samples: false
  unordered_writes: true
  ingestion_rate_mb: 10000
  ingestion_burst_size_mb: 10000
  per_stream_rate_limit: 10GB
  per_stream_rate_limit_burst: 10GB
  max_entries_limit_per_query: 0
  max_query_series: 100000
analytics: { reporting_enabled: false }
`;
    await writeFile(join(folder, "loki.yaml"), configuration);
    return { command: program, arguments: [`-config.file=${join(folder, "loki.yaml")}`] };
  },
});
