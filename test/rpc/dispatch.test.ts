// Which calls a channel starts, and when: over a transport that does only what the test says.
import { createServer as createNetServer, type AddressInfo, type Socket } from "node:net";
import { Code, createClient, Metadata, openChannel, type SocketTransport } from "@sluice/rpc";
import { expect, test } from "vitest";
import type { ClientTransportHandler, TransportStream } from "../../packages/rpc/src/transport.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { fieldOf } from "./support.ts";

/** One connection as the channel sees it. */
interface Stub {
  readonly handler: ClientTransportHandler;
  readonly opened: string[];
  available: number;
}

function stubTransport(stubs: Stub[]): SocketTransport {
  return {
    serveSocket() {
      throw new Error("not a server");
    },
    connectSocket(socket: Socket, handler) {
      const stub: Stub = { handler, opened: [], available: 0 };
      stubs.push(stub);
      const connection = {
        peer: { address: "stub", isEncrypted: false },
        state: "open" as const,
        openStreams: 0,
        busyHandlers: 0,
        get streamsAvailable() {
          return stub.available;
        },
        open(headers: { readonly fields: readonly string[] }): TransportStream {
          stub.available--;
          stub.opened.push(fieldOf({ fields: headers.fields, memo: undefined }, "n") ?? "");
          const nothing = (): void => {};
          const methods = { sendHeaders: nothing, end: nothing, setSource: nothing, wake: nothing, consume: nothing };
          return { connection, ...methods, reset: nothing, write: () => true };
        },
        drain() {},
        destroy() {
          socket.destroy();
          handler.onConnectionClose("destroyed");
        },
      };
      return connection;
    },
  };
}

async function startStub() {
  const stubs: Stub[] = [];
  const sink = createNetServer((socket) => socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => sink.listen(0, "127.0.0.1", resolve));
  const { port } = sink.address() as AddressInfo;
  const channel = openChannel(`127.0.0.1:${port}`, { transport: stubTransport(stubs) });
  const client = createClient(EchoService, channel);
  return {
    stubs,
    channel,
    /** A call that can be told from others; how it ends does not matter. */
    call: (n: string) => void client.echo({}, { metadata: new Metadata({ n }) }).catch(() => Code.CANCELLED),
    async [Symbol.asyncDispose]() {
      await channel.close();
      await new Promise<void>((resolve) => sink.close(() => resolve()));
    },
  };
}

test("calls that wait go first, in order; none overtakes them", async () => {
  await using stub = await startStub();
  for (const n of ["1", "2", "3"]) stub.call(n);
  await expect.poll(() => stub.stubs.length).toBe(1);
  const [first] = stub.stubs;
  if (first === undefined) throw new Error("not connected");
  first.available = 1;
  first.handler.onOpen();
  expect(first.opened).toEqual(["1"]);
  // There is room again, but the channel has not been told so yet.
  first.available = 1;
  stub.call("4");
  expect(first.opened).toEqual(["1"]);
  first.handler.onStreamsAvailable();
  expect(first.opened).toEqual(["1", "2"]);
  first.available = 5;
  first.handler.onStreamsAvailable();
  expect(first.opened).toEqual(["1", "2", "3", "4"]);
  stub.call("5");
  expect(first.opened).toEqual(["1", "2", "3", "4", "5"]);
});

test("calls that wait when the server drains go to a new connection", async () => {
  await using stub = await startStub();
  stub.call("1");
  await expect.poll(() => stub.stubs.length).toBe(1);
  stub.stubs[0]?.handler.onOpen();
  stub.stubs[0]?.handler.onDraining();
  await expect.poll(() => stub.stubs.length).toBe(2);
  const second = stub.stubs[1];
  if (second === undefined) throw new Error("not connected");
  second.available = 1;
  second.handler.onOpen();
  expect(second.opened).toEqual(["1"]);
});
