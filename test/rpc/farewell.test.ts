// Calls that the server ends although they could go on: who answers them has the last word.
import { Code, type FrameSource, type FrameStream, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { overBothTransports, startEcho } from "./support.ts";

overBothTransports((transport) => {
  async function statusAfterDrain(farewell: FrameSource["farewell"]): Promise<{ status: unknown; errors: unknown[] }> {
    let stream: FrameStream | undefined;
    const source: FrameSource = {
      attach: (attached) => void (stream = attached),
      pull: () => undefined,
      ...(farewell === undefined ? {} : { farewell }),
    };
    await using echo = await startEcho(transport, { handlers: { count: () => source } });
    const status = Array.fromAsync(echo.client.count({})).catch((error: unknown) => error);
    await expect.poll(() => stream).toBeDefined();
    await echo.listener.drain({ graceMs: 0 });
    return { status: await status, errors: echo.errors };
  }

  test("a source that says how to go on ends with what it says", async () => {
    const { status } = await statusAfterDrain(
      (error) => new RpcError(error.code, `${error.message}, after 7`, { details: error.details }),
    );
    expect(status).toMatchObject({
      code: Code.UNAVAILABLE,
      message: "The server is shutting down; try again, after 7",
    });
  });

  test("one that says nothing ends with the server's own words", async () => {
    const { status } = await statusAfterDrain(undefined);
    expect(status).toMatchObject({ code: Code.UNAVAILABLE, message: "The server is shutting down; try again" });
  });

  test("one that fails at it ends all the same, and the failure is heard of", async () => {
    const failure = new Error("no last words");
    const { status, errors } = await statusAfterDrain(() => {
      throw failure;
    });
    expect(status).toMatchObject({ code: Code.UNKNOWN });
    expect(errors).toEqual([failure]);
  });
});
