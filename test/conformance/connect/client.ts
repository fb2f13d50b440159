// The client that connectconformance tests: reads from stdin which calls to make, makes some of them at a time, and says
// on stdout how each one ended.
import { openChannel, type Channel } from "@sluice/rpc";
import {
  type ClientCompatRequest,
  ClientCompatRequestSchema,
  ClientCompatResponseSchema,
} from "../gen/connectrpc/conformance/v1/client_compat_pb.ts";
import { invoke } from "./invoke.ts";
import { readMessages, writeMessage } from "./stdio.ts";

const CALLS_MAX = 16;

/** One for each server, as a program would have. */
const channels = new Map<string, Channel>();

function channelTo({ host, port, serverTlsCert, clientTlsCreds, messageReceiveLimit }: ClientCompatRequest): Channel {
  const tls =
    serverTlsCert.length === 0
      ? {}
      : {
          tls: {
            ca: Buffer.from(serverTlsCert),
            ...(clientTlsCreds === undefined
              ? {}
              : { cert: Buffer.from(clientTlsCreds.cert), key: Buffer.from(clientTlsCreds.key) }),
          },
        };
  const limits = messageReceiveLimit === 0 ? {} : { limits: { messageBytesMax: messageReceiveLimit } };
  const key = [host, port, messageReceiveLimit, clientTlsCreds === undefined].join(" ");
  const channel = channels.get(key) ?? openChannel(`${host}:${port}`, { ...tls, ...limits });
  channels.set(key, channel);
  return channel;
}

async function answer(request: ClientCompatRequest): Promise<void> {
  const { testName } = request;
  try {
    const value = await invoke(request, channelTo(request));
    writeMessage(ClientCompatResponseSchema, { testName, result: { case: "response", value } });
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    writeMessage(ClientCompatResponseSchema, { testName, result: { case: "error", value: { message } } });
  }
}

const running = new Set<Promise<void>>();
for await (const request of readMessages(ClientCompatRequestSchema)) {
  const call = answer(request).finally(() => running.delete(call));
  running.add(call);
  if (running.size >= CALLS_MAX) await Promise.race(running);
}
await Promise.all(running);
for (const channel of channels.values()) await channel.close();
