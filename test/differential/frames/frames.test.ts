// Frames, legal and illegal, to our HTTP/2 and to node:http2 side by side: whatever is not known to differ is answered alike.
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rootFolder } from "../../../scripts/command.ts";
import { ownHttp2 } from "../../../packages/rpc/src/socket-transport.ts";
import { nodeHttp2Transport } from "../../support/node-http2-transport.ts";
import { renderDifferences } from "./differences-page.ts";
import { knownBySituation, situation } from "./known-differences.ts";
import { Sequence } from "./sequence.ts";
import { type Side, startSide } from "./side.ts";
import { STATES, type State, STEPS, stepNamed } from "./steps.ts";

/** Random sequences of the short run; SLUICE_SEQUENCES asks for more, SLUICE_SEED for others. */
const SEQUENCES = Number(process.env["SLUICE_SEQUENCES"] ?? 500);
const SEED = Number(process.env["SLUICE_SEED"] ?? 1);

/** After these, what comes of a step no longer depends on its stream's state alone. */
const CHANGES_ALL = /^GOAWAY|^SETTINGS with a window of 2\^31-1$/;

let ours: Side;
let node: Side;
beforeAll(async () => {
  ours = await startSide(ownHttp2());
  node = await startSide(nodeHttp2Transport);
});
afterAll(async () => {
  await ours[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
});

const known = knownBySituation();

/** Alike where nothing is listed; where something is, just that. */
function expectKnown(outcome: { ours: string; node: string }, step: string, ...states: readonly State[]): void {
  const listed = states.map((state) => known.get(situation(step, state))).find((each) => each !== undefined);
  const where = `${step} on a stream that is ${states[0]}`;
  if (listed === undefined) expect(outcome.ours, where).toBe(outcome.node);
  else expect(outcome, where).toMatchObject({ ours: listed.ours, node: listed.node });
}

describe.each(Object.keys(STATES) as State[])("on a stream that is %s", (state) => {
  const everywhere = STEPS.filter(({ about }) => about === "stream");
  const onceOnly = STEPS.filter(({ about }) => about === "connection" || about === "request");
  const steps = [...everywhere, ...(state === "idle" ? onceOnly : [])].map(({ name }) => name);

  test.each(steps)("%s", async (name) => {
    await using sequence = await Sequence.open(ours, node);
    for (const before of STATES[state]) {
      const outcome = await sequence.take(stepNamed(before), 1);
      expect(outcome.ours, `on the way there: ${before}`).toBe(outcome.node);
    }
    expect(sequence.stateOf(1)).toBe(state);
    expectKnown(await sequence.take(stepNamed(name), 1), name, state);
  });
});

test.each(STEPS.filter(({ about }) => about === "preface"))("a connection that begins with: $name", async (step) => {
  using us = await ours.open({ isRaw: true });
  using them = await node.open({ isRaw: true });
  const outcome = { ours: (await us.say(step.bytes(0))).text, node: (await them.say(step.bytes(0))).text };
  expectKnown(outcome, step.name, "idle");
});

test("random sequences of these steps on several streams end alike, or as it is known", async () => {
  const begun = STEPS.filter(({ about }) => about !== "preface");
  const place = fc.record({ step: fc.constantFrom(...begun), stream: fc.integer({ min: 0, max: 3 }) });
  const places = fc.array(place, { minLength: 2, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(places, async (sequenceOfSteps) => {
      await using sequence = await Sequence.open(ours, node);
      for (const { step, stream } of sequenceOfSteps) {
        const streamId = 1 + 2 * stream;
        const state = sequence.stateOf(streamId);
        if (step.about === "request" && state !== "idle") continue;
        const outcome = await sequence.take(step, streamId);
        if (outcome.ours !== outcome.node) {
          // What is about the connection may depend on any of its streams.
          return expectKnown(outcome, step.name, state, ...sequence.states());
        }
        if (outcome.isOver || CHANGES_ALL.test(step.name)) return;
      }
    }),
    { numRuns: SEQUENCES, seed: SEED },
  );
});

test("the page of differences says what the list says", async () => {
  await expect(renderDifferences()).toMatchFileSnapshot(join(rootFolder, "docs", "guides", "http2-differences.md"));
});
