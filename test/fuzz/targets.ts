// All that is fuzzed.
import type { Target } from "./target.ts";
import { grpcClient } from "./targets/grpc-client.ts";
import { grpcServer } from "./targets/grpc-server.ts";
import { hpack } from "./targets/hpack.ts";
import { http2Client } from "./targets/http2-client.ts";
import { http2Server } from "./targets/http2-server.ts";
import { messages } from "./targets/messages.ts";
import { status } from "./targets/status.ts";
import { webText } from "./targets/web-text.ts";

export const targets: readonly Target[] = [
  http2Server,
  http2Client,
  grpcServer,
  grpcClient,
  hpack,
  messages,
  status,
  webText,
];
