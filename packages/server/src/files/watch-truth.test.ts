// Whatever happens to a folder, and whenever a reader stalls, leaves and comes back: in the end it knows what is there, and
// on the way it is never told of what it could not know.
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ManualClock } from "@sluice/rpc/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { OpenedService } from "./testing/opened-service.ts";
import type { Watcher } from "./testing/watcher.ts";

const NAMES = ["a", "b", "a/c", "b/c", "a/c/d", "b/d", ".h"];
const name = fc.constantFrom(...NAMES);
const step = fc.oneof(
  fc.record({ do: fc.constantFrom("write", "mkdir", "remove", "link"), name }),
  fc.record({ do: fc.constant("move"), name, to: name }),
  fc.record({ do: fc.constantFrom("look", "look", "stall", "take", "leave", "come back") }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Sizes tell contents apart also within one tick of the file system's clock. */
let written = 0;

async function change(files: OpenedService, what: Step): Promise<void> {
  if (!("name" in what)) return;
  const place = join(files.named, what.name);
  if (what.do === "write") await writeFile(place, "x".repeat(++written % 1000));
  if (what.do === "mkdir") await mkdir(place);
  if (what.do === "remove") await rm(place, { recursive: true });
  if (what.do === "link") await symlink(files.outside, place);
  if ("to" in what) await rename(place, join(files.named, what.to));
}

test.each([1, 1000])(
  "a reader ends up knowing what is there (%d removals remembered)",
  async (watchRemovalsMax) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const clock = new ManualClock();
        await using files = await OpenedService.open({ clock, limits: { watchRemovalsMax, watchHintsMax: 0 } });
        const query = { path: "named", recursive: true, includeExisting: true, heartbeatMs: 0 };
        // Keeps the picture alive and looking, and knows when a look has ended.
        const witness = (await files.watch(query)).watcher;
        let reader: { readonly watcher: Watcher; readonly call: { end(): void } } | undefined =
          await files.watch(query);
        const truth = async (): Promise<unknown> =>
          Object.fromEntries(
            (await files.list({ path: "named", recursive: true }))
              .flatMap((answer) => answer.files)
              .map(({ filePath, etag, isDirectory }) => [filePath, isDirectory ? "folder" : etag]),
          );
        const known = ({ known: all }: Watcher): unknown =>
          Object.fromEntries(
            [...all.values()].map(({ filePath, etag, isDirectory }) => [filePath, isDirectory ? "folder" : etag]),
          );
        const settle = async (watcher: Watcher): Promise<void> => {
          const wanted = await truth();
          await expect.poll(() => (clock.advance(2_000), known(watcher)), { interval: 1 }).toEqual(wanted);
        };
        let left: Watcher | undefined;
        for (const what of steps) {
          await change(files, what).catch(() => {}); // what is not there cannot be moved
          if (what.do === "look") await settle(witness);
          if (what.do === "stall" && reader !== undefined) reader.watcher.isStalled = true;
          if (what.do === "take") reader?.watcher.take();
          if (what.do === "leave" && reader !== undefined) {
            reader.call.end();
            left = reader.watcher;
            reader = undefined;
          }
          if (what.do === "come back" && reader === undefined) {
            const { token, known: before } = left!;
            reader = await files.watch({ ...query, resumeToken: token }, { known: before });
          }
        }
        reader ??= await files.watch({ ...query, resumeToken: left!.token }, { known: left!.known });
        const { watcher } = reader;
        watcher.isStalled = false;
        watcher.wake();
        await settle(witness);
        await settle(watcher);
        expect([...witness.told, ...watcher.told].filter((each) => each.includes(".h"))).toEqual([]);
      }),
      { numRuns: 60 },
    );
  },
  60_000,
);
