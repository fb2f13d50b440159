// What a client makes of servers that do not answer as gRPC says.
import { Code } from "@sluice/rpc";
import { expect, test } from "vitest";
import { HeaderBlock } from "../../packages/rpc/src/transport.ts";
import { overBothTransports, startPlain } from "./support.ts";

overBothTransports((transport) => {
  test("a response without a status is INTERNAL", async () => {
    await using plain = await startPlain(transport, (stream) => {
      stream.sendHeaders(new HeaderBlock([":status", "200", "content-type", "application/grpc"]), { endStream: false });
      stream.end();
    });
    await expect(plain.client.echo({})).rejects.toMatchObject({ code: Code.INTERNAL });
    await expect(Array.fromAsync(plain.client.count({}))).rejects.toMatchObject({ code: Code.INTERNAL });
  });

  test("OK without a message where one belongs is UNIMPLEMENTED; so are two", async () => {
    let count = 0;
    await using plain = await startPlain(transport, (stream) => {
      stream.sendHeaders(new HeaderBlock([":status", "200", "content-type", "application/grpc"]), { endStream: false });
      if (count++ > 0) stream.write(Buffer.alloc(10));
      stream.end(new HeaderBlock(["grpc-status", "0"]));
    });
    await expect(plain.client.echo({})).rejects.toMatchObject({ code: Code.UNIMPLEMENTED });
    await expect(plain.client.echo({})).rejects.toMatchObject({ code: Code.UNIMPLEMENTED });
  });
});
