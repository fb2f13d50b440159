// The Connect-ES peer, as its guide has it: generated descriptors, async generators, Node's HTTP/2 server. Its API
// takes messages only, so there is no form with bytes encoded beforehand.

import { createSecureServer, createServer } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { LogEntrySchema, LogService, OtlpLogsService, SeedLogService, type AnyValue } from "@sluice/api";
import { EchoService } from "../gen/bench/v1/echo_pb.ts";
import { frameOf, openJournal } from "./journal.ts";
import { entriesOf } from "./otlp-entries.ts";
import { announce, messagesOf, parseServerOptions, versionOf } from "./server-options.ts";

const options = parseServerOptions();
const journal = await openJournal(options.data);
const entries = messagesOf(options.frames).map((message) => fromBinary(LogEntrySchema, message));

async function* history() {
  for (let index = 0; index < options.count; index++) {
    const entry = entries[index % entries.length];
    if (entry !== undefined) yield entry;
  }
}

function stringIn({ value }: AnyValue): string {
  return value.case === "stringValue" ? value.value : "";
}

function routes(router: ConnectRouter): void {
  router.service(SeedLogService, { streamLogs: history });
  router.service(LogService, {
    streamLogs: history,
    async *writeLogStream(requests) {
      let acknowledged = 0n;
      for await (const request of requests) {
        const frames = request.entries.map((entry) => frameOf(toBinary(LogEntrySchema, entry)));
        await journal.append(Buffer.concat(frames));
        acknowledged += BigInt(request.entries.length);
        yield { acknowledged };
      }
    },
  });
  router.service(OtlpLogsService, {
    async export(request) {
      const stored = entriesOf(request, stringIn).map((entry) =>
        frameOf(toBinary(LogEntrySchema, create(LogEntrySchema, entry))),
      );
      await journal.append(Buffer.concat(stored));
      return {};
    },
  });
  router.service(EchoService, {
    echo: (request) => ({ payload: request.payload }),
    async *repeat({ payload, count }) {
      for (let index = 0; index < count; index++) yield { payload };
    },
    async upload(requests) {
      let count = 0;
      for await (const _ of requests) count++;
      return { count };
    },
    async *chat(requests) {
      for await (const { payload } of requests) yield { payload };
    },
  });
}

const settings = { maxConcurrentStreams: 1000 };
const answer = connectNodeAdapter({ routes });
const server =
  options.tls === undefined
    ? createServer({ settings }, answer)
    : createSecureServer({ settings, ...options.tls }, answer);
server.listen(options.port, "127.0.0.1", () => {
  announce(`@connectrpc/connect-node ${versionOf("@connectrpc/connect-node")}`, server.address());
});
