// What Connect-ES sees of a call, whichever protocol it speaks.
import type { Client } from "@connectrpc/connect";
import type { Listener } from "@sluice/rpc";
import { expect } from "vitest";
import { ownHttp2 } from "../../packages/rpc/src/socket-transport.ts";
import type { EchoService } from "./gen/echo_pb.ts";
import { startEcho } from "./support.ts";

/** A server gives back what it was sent, in its headers, and binary metadata in its trailers. */
export async function expectMetadataBothWays(
  clientOf: (listener: Listener) => Client<typeof EchoService>,
): Promise<void> {
  await using server = await startEcho(ownHttp2(), {
    handlers: {
      echo({ text }, call) {
        call.responseMetadata.set("x-seen", call.requestMetadata.get("x-sent") ?? "");
        call.responseTrailers.set("x-late-bin", Uint8Array.of(1, 2, 255));
        return { text };
      },
    },
  });
  let seen: string | null = null;
  let late: string | null = null;
  await clientOf(server.listener).echo(
    {},
    {
      headers: { "x-sent": "there" },
      onHeader: (headers) => (seen = headers.get("x-seen")),
      onTrailer: (trailers) => (late = trailers.get("x-late-bin")),
    },
  );
  expect([seen, late]).toEqual(["there", "AQL/"]);
}
