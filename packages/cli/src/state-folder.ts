// Where a command remembers things between its runs, as https://specifications.freedesktop.org/basedir-spec/ has it.
import { homedir } from "node:os";
import { join } from "node:path";

/** The folder of this user's state for one purpose: ~/.local/state/sluice/NAME. */
export function stateFolder(environment: NodeJS.ProcessEnv, name: string): string {
  const state = environment["XDG_STATE_HOME"] ?? join(environment["HOME"] ?? homedir(), ".local", "state");
  return join(state, "sluice", name);
}
