// All that is fuzzed.
import type { Target } from "./target.ts";
import { entries, otlp, writeRequests } from "./targets/entries.ts";
import { grpcClient } from "./targets/grpc-client.ts";
import { grpcServer } from "./targets/grpc-server.ts";
import { hpack } from "./targets/hpack.ts";
import { http1 } from "./targets/http1.ts";
import { http2Client } from "./targets/http2-client.ts";
import { http2Server } from "./targets/http2-server.ts";
import { messages } from "./targets/messages.ts";
import { paths } from "./targets/paths.ts";
import { queries } from "./targets/queries.ts";
import { segments } from "./targets/segments.ts";
import { status } from "./targets/status.ts";
import { webText } from "./targets/web-text.ts";

export const targets: readonly Target[] = [
  http2Server,
  http2Client,
  grpcServer,
  grpcClient,
  http1,
  hpack,
  messages,
  status,
  webText,
  entries,
  writeRequests,
  otlp,
  queries,
  paths,
  segments,
];
