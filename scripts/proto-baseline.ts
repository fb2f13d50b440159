// Finds the interface definitions that today's must stay compatible with, in a clone that may lack history.

import { type CommandResult, rootFolder, runCommand } from "./command.ts";

export type ProtoBaseline =
  | { readonly kind: "commit"; readonly commit: string; readonly name: string; readonly gitFolder: string }
  | { readonly kind: "none"; readonly reason: string };

/**
 * The baseline of `buf breaking`: the last release that HEAD descends from; before the first release, the commit at
 * which HEAD left main; on main itself the commit before HEAD, so that a change just made is still compared.
 */
export async function findProtoBaseline(folder: string = rootFolder): Promise<ProtoBaseline> {
  const git = (...args: string[]): Promise<CommandResult> => runCommand(["git", ...args], { cwd: folder });
  const gitFolder = await git("rev-parse", "--path-format=absolute", "--git-common-dir");
  if (gitFolder.code !== 0) return { kind: "none", reason: "this folder is no git checkout" };

  const tag = await git("describe", "--tags", "--match", "v[0-9]*", "--abbrev=0", "HEAD");
  const candidates = tag.code === 0 ? [tag.stdout.trim()] : [];
  for (const main of ["origin/main", "main"]) {
    const [fork, head] = await Promise.all([git("merge-base", "HEAD", main), git("rev-parse", "HEAD")]);
    if (fork.code === 0 && fork.stdout !== head.stdout) candidates.push(fork.stdout.trim());
  }
  candidates.push("HEAD~1");

  for (const name of candidates) {
    const commit = await git("rev-parse", "--verify", "--quiet", `${name}^{commit}`);
    if (commit.code !== 0) continue;
    const proto = await git("cat-file", "-e", `${name}:proto`);
    if (proto.code === 0)
      return { kind: "commit", commit: commit.stdout.trim(), name, gitFolder: gitFolder.stdout.trim() };
  }
  return { kind: "none", reason: "this clone holds no earlier commit with interface definitions" };
}
