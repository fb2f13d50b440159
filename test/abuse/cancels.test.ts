// Cancelling is no attack. Node's own HTTP/2 answers 1,500 cancels on a connection with GOAWAY, and whoever shares it falls.
import { type Client, Code, createClient, openChannel } from "@sluice/rpc";
import { expect, test } from "vitest";
import { EchoService } from "../rpc/gen/echo_pb.ts";
import { startAttackedServer } from "./server.ts";

type EchoClient = Client<typeof EchoService>;

const WAVES = 25;
const CANCELS_IN_A_WAVE = 200;

/** Gives up what was only just asked: the server hears of both at once. */
async function cancelAtOnce(client: EchoClient): Promise<unknown> {
  const controller = new AbortController();
  const answer = client.count({}, { signal: controller.signal }).next();
  controller.abort();
  return answer.catch((error: unknown) => error);
}

/** Gives up what answers, as who leaves a loop. */
async function cancelAfterFirst(client: EchoClient): Promise<unknown> {
  for await (const response of client.count({ count: 1_000_000 })) return response;
  return undefined;
}

/** Gives up what has not been answered for a while, and whose handler does not hear of it at once. */
async function cancelUnanswered(client: EchoClient): Promise<unknown> {
  const opened = Promise.withResolvers<void>();
  const controller = new AbortController();
  async function* requests() {
    yield { text: "x" };
    await new Promise<void>((resolve) => controller.signal.addEventListener("abort", () => resolve()));
  }
  const answers = client.chat(requests(), { signal: controller.signal, onHeaders: () => opened.resolve() });
  const answer = answers.next().catch((error: unknown) => error);
  await opened.promise;
  controller.abort();
  return answer;
}

test("5,000 ordinary cancels on one connection harm no other stream on it", async () => {
  await using server = await startAttackedServer();
  await using channel = openChannel(`127.0.0.1:${server.port}`);
  const client = createClient(EchoService, channel);
  await client.echo({});
  let isOver = false;
  const follower = client.count({}).next();
  const followed = follower.then(
    () => "ended",
    (error: unknown) => (isOver ? "closed" : error),
  );
  let cancels = 0;
  for (let wave = 0; wave < WAVES; wave++) {
    const cancel = [cancelAtOnce, cancelAfterFirst, cancelUnanswered][wave % 3] ?? cancelAtOnce;
    const given = Array.from({ length: CANCELS_IN_A_WAVE }, () => cancel(client));
    await expect(client.echo({ text: "beside" })).resolves.toMatchObject({ text: "beside" });
    const ends = await Promise.all(given);
    cancels += ends.length;
    if (cancel !== cancelAfterFirst) for (const end of ends) expect(end).toMatchObject({ code: Code.CANCELLED });
  }
  expect(cancels).toBe(5000);
  await expect.poll(async () => (await server.held()).openCalls).toBeLessThanOrEqual(2);
  expect((await server.held()).connections).toBe(1);
  isOver = true;
  await channel.close();
  await expect(followed).resolves.toBe("closed");
});
