// Stream ids run out. Whichever side counts them, the channel has changed its connection before, and no call notices.
import {
  createClient,
  createServer,
  listen,
  openChannel,
  serve,
  type ChannelOptions,
  type ListenOptions,
} from "@sluice/rpc";
import { expect, test } from "vitest";
import { EchoService } from "./gen/echo_pb.ts";
import { expectIdle } from "./support.ts";

const CALLS = 40;
/** Of 2³⁰ otherwise. */
const few = { http2: { limits: { streamsPerConnectionMax: 7 } } };

interface Sides {
  readonly channel?: ChannelOptions;
  readonly listener?: ListenOptions;
}

/** Makes calls and tells how many came on each connection, in the order of the connections. */
async function callsPerConnection(sides: Sides, inFlight: number): Promise<number[]> {
  const counts = new Map<string, number>();
  const release: (() => void)[] = [];
  const server = createServer({
    services: [
      serve(EchoService, {
        async echo({ text }, { peer }) {
          counts.set(peer.address, (counts.get(peer.address) ?? 0) + 1);
          if (release.length + 1 < inFlight) await new Promise<void>((resolve) => release.push(resolve));
          else for (const each of release.splice(0)) each();
          return { text };
        },
      }),
    ],
  });
  await using listener = await listen(server, { ...sides.listener });
  await using channel = openChannel(listener.address, sides.channel);
  const client = createClient(EchoService, channel);
  for (let made = 0; made < CALLS; made += inFlight) {
    const texts = Array.from({ length: inFlight }, (_, at) => String(made + at));
    const answers = await Promise.all(texts.map((text) => client.echo({ text })));
    expect(answers.map(({ text }) => text)).toEqual(texts);
  }
  await channel.close();
  await expectIdle(server);
  return [...counts.values()];
}

test.each([1, 4, 20])(
  "a client that counts: no connection has more streams than it may, %i calls at a time",
  async (inFlight) => {
    const counts = await callsPerConnection({ channel: few }, inFlight);
    expect(counts).toEqual([7, 7, 7, 7, 7, 5]);
  },
);

test.each([1, 4, 20])("a server that counts: its GOAWAY moves the client on, %i calls at a time", async (inFlight) => {
  const counts = await callsPerConnection({ listener: few }, inFlight);
  expect(counts.reduce((sum, count) => sum + count)).toBe(CALLS);
  expect(counts.length).toBeGreaterThan(1);
  // Calls that were under way when the server said so are served where they are: the ids left over are for them.
  for (const count of counts.slice(0, -1)) expect(count).toBeGreaterThanOrEqual(7);
});
