// Makes the stories in `stories/`: small ones of each encoder, so that a machine without Go and Python has them too.
//
// Usage: SLUICE_SUITE=full node --conditions=sluice-source test/differential/hpack/make-stories.ts
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeByNghttp2 } from "./nghttp2.ts";
import { encodeOurs } from "./ours.ts";
import { findGoPeer, findPythonPeer, type FoundPeer } from "./peers.ts";
import { randomStories, type Story } from "./story.ts";

function encodeWith(found: FoundPeer): (stories: readonly Story[]) => Promise<Story[]> {
  if (found.kind === "missing") throw new Error(`Cannot make stories: ${found.reason}`);
  return (stories) => found.peer.encode(stories);
}

const encoders: Readonly<Record<string, (stories: readonly Story[]) => Promise<Story[]>>> = {
  go: encodeWith(await findGoPeer()),
  python: encodeWith(await findPythonPeer()),
  nghttp2: (stories) => Promise.all(stories.map(encodeByNghttp2)),
  sluice: async ([first, second]) => [
    encodeOurs(first!, "a client's, with a table"),
    encodeOurs(second!, "a server's, without one"),
  ],
};

for (const [name, encode] of Object.entries(encoders)) {
  const folder = join(import.meta.dirname, "stories", name);
  await mkdir(folder, { recursive: true });
  const stories = await encode(randomStories({ seed: 7541, stories: 2, casesPerStory: 30, of: "requests" }));
  for (const [at, story] of stories.entries()) {
    await writeFile(join(folder, `story_0${at}.json`), `${JSON.stringify(story, undefined, 1)}\n`);
  }
}
