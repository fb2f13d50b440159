// What travels beside the messages, both ways.
import { Code, Metadata, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { callFields, fieldOf, openWire, overBothTransports, startEcho } from "./support.ts";

overBothTransports((transport) => {
  test("repeated keys and binary values arrive in order, in both directions", async () => {
    const seen: Metadata[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          seen.push(call.requestMetadata);
          call.responseMetadata
            .append("header", "1")
            .append("header", "2")
            .append("token-bin", Uint8Array.of(1, 2, 3, 4));
          call.responseTrailers.append("trailer", "a").append("sum-bin", Uint8Array.of(255));
          return {};
        },
      },
    });
    const headers = Promise.withResolvers<Metadata>();
    const trailers = Promise.withResolvers<Metadata>();
    const metadata = new Metadata({
      Key: ["one", "two"],
      "blob-bin": [Uint8Array.of(0), Uint8Array.of(250, 251, 252)],
    });
    await echo.client.echo({}, { metadata, onHeaders: headers.resolve, onTrailers: trailers.resolve });
    expect(seen[0]?.getAll("key")).toEqual(["one", "two"]);
    expect(seen[0]?.get("KEY")).toBe("one");
    expect(seen[0]?.getAllBinary("blob-bin")).toEqual([Buffer.of(0), Buffer.of(250, 251, 252)]);
    expect((await headers.promise).getAll("header")).toEqual(["1", "2"]);
    expect((await headers.promise).getBinary("token-bin")).toEqual(Buffer.of(1, 2, 3, 4));
    expect((await trailers.promise).get("trailer")).toBe("a");
    expect((await trailers.promise).getBinary("sum-bin")).toEqual(Buffer.of(255));
  });

  test("binary values are read with and without padding, and when a proxy joined them", async () => {
    const seen: Uint8Array[][] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          seen.push(call.requestMetadata.getAllBinary("blob-bin"));
          return {};
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    for (const value of ["aGk=", "aGk", "aGk=,aG8", "aGk, aG8="]) {
      await wire.request(callFields("Echo", { "blob-bin": value }), Buffer.alloc(5));
    }
    const texts = seen.map((values) => values.map((value) => Buffer.from(value).toString()));
    expect(texts).toEqual([["hi"], ["hi"], ["hi", "ho"], ["hi", "ho"]]);
  });

  test("HTTP's and gRPC's own fields are not shown, tracing fields are", async () => {
    const names: string[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          names.push(...Array.from(call.requestMetadata, ([name]) => name));
          return {};
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const more = {
      "grpc-timeout": "9S",
      "grpc-encoding": "identity",
      "grpc-trace-bin": "AA",
      "user-agent": "test",
      "x-a": "1",
    };
    await wire.request(callFields("Echo", more), Buffer.alloc(5));
    expect(names.toSorted()).toEqual(["grpc-trace-bin", "user-agent", "x-a"]);
  });

  test("each call brings its own metadata, and only that", async () => {
    const seen: (string | undefined)[] = [];
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          seen.push(call.requestMetadata.get("a"));
          return {};
        },
      },
    });
    for (const value of [undefined, "1", undefined, "2"]) {
      await echo.client.echo({}, value === undefined ? {} : { metadata: new Metadata({ a: value }) });
    }
    expect(seen).toEqual([undefined, "1", undefined, "2"]);
  });

  test("an error brings the trailers that the handler set and those of the error", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          call.responseTrailers.set("from-handler", "1");
          throw new RpcError(Code.ABORTED, "", { metadata: new Metadata({ "from-error": "2" }) });
        },
      },
    });
    const error = await echo.client.echo({}).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(RpcError);
    const { metadata } = error as RpcError;
    expect([metadata.get("from-handler"), metadata.get("from-error")]).toEqual(["1", "2"]);
  });

  test("what has been sent or received cannot be changed any more", async () => {
    await using echo = await startEcho(transport, {
      handlers: {
        async *count(_request, call) {
          call.sendHeaders();
          yield { index: 1 };
          call.responseMetadata.set("too-late", "1");
        },
        echo(_request, call) {
          call.requestMetadata.set("mine", "1");
          return {};
        },
      },
    });
    await expect(Array.fromAsync(echo.client.count({}))).rejects.toMatchObject({ code: Code.UNKNOWN });
    await expect(echo.client.echo({})).rejects.toMatchObject({ code: Code.UNKNOWN });
    expect(echo.errors.map(String)).toEqual([
      "TypeError: Cannot change metadata that was received or already sent",
      "TypeError: Cannot change metadata that was received or already sent",
    ]);
  });

  test("metadata of one call is not seen by the next one of the same headers", async () => {
    let calls = 0;
    await using echo = await startEcho(transport, {
      handlers: {
        echo(_request, call) {
          if (++calls === 1) call.responseMetadata.set("first", "1");
          return { text: String(call.responseMetadata.size) };
        },
      },
    });
    await using wire = await openWire(transport, echo.listener.address);
    const first = await wire.request(callFields("Echo"), Buffer.alloc(5));
    const second = await wire.request(callFields("Echo"), Buffer.alloc(5));
    expect([fieldOf(first.headers, "first"), fieldOf(second.headers, "first")]).toEqual(["1", undefined]);
  });
});
