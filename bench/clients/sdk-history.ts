// Reads one StreamLogs to its end as a program does, with every entry decoded: by our SDK, by our client core with
// protobuf-es alone, or by grpc-js with what proto-loader made.

import { join } from "node:path";
import {
  credentials,
  loadPackageDefinition,
  type ClientReadableStream,
  type ServiceClientConstructor,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { LogService } from "@sluice/api";
import { connect } from "@sluice/client";
import { createClient, openChannel } from "@sluice/rpc";
import { carryOut } from "./client-process.ts";

export interface SdkHistoryTask {
  readonly address: string;
  readonly reader: keyof typeof readers;
}

export interface SdkHistoryOutcome {
  readonly entries: number;
  readonly seconds: number;
}

const readers = {
  async sdk(address: string): Promise<number> {
    await using client = connect(address);
    return await count(client.streamLogs());
  },
  async "protobuf-es"(address: string): Promise<number> {
    const channel = openChannel(address);
    try {
      return await count(createClient(LogService, channel).streamLogs({}));
    } finally {
      await channel.close();
    }
  },
  async "grpc-js"(address: string): Promise<number> {
    const definitions = loadSync("sluice/logs/v1/logs.proto", {
      includeDirs: [join(import.meta.dirname, "../../proto")],
      longs: String,
    });
    const loaded = loadPackageDefinition(definitions) as unknown as {
      sluice: { logs: { v1: { LogService: ServiceClientConstructor } } };
    };
    const client = new loaded.sluice.logs.v1.LogService(address, credentials.createInsecure());
    try {
      const call = client["StreamLogs"] as (request: object) => ClientReadableStream<{ message: string }>;
      return await count(call.call(client, {}));
    } finally {
      client.close();
    }
  },
};

/** Looks at each entry as a program would. */
async function count(entries: AsyncIterable<{ readonly message: string }>): Promise<number> {
  let found = 0;
  for await (const { message } of entries) if (message !== "") found++;
  return found;
}

await carryOut(async ({ address, reader }: SdkHistoryTask): Promise<SdkHistoryOutcome> => {
  const start = performance.now();
  const entries = await readers[reader](address);
  return { entries, seconds: (performance.now() - start) / 1000 };
});
