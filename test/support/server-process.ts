// A real server, or a sidecar, in a process of its own, on a real socket and real files.
import { type CliOptions, type CliProcess, startCli } from "./cli-process.ts";

export interface ServerProcess extends CliProcess {
  /** "127.0.0.1:41234". */
  readonly address: string;
}

/** `sluice serve`, on a free port of 127.0.0.1 unless the words say where, with its data in `options.folder`/data. Resolves when it serves. */
export const startServer = (words: readonly string[], options: CliOptions): Promise<ServerProcess> =>
  startListening("serve", words, options);

/** `sluice sidecar`, for workers on a free port of 127.0.0.1 unless the words say where. Resolves when it listens. */
export const startSidecar = (words: readonly string[], options: CliOptions): Promise<ServerProcess> =>
  startListening("sidecar", words, options);

async function startListening(command: string, words: readonly string[], options: CliOptions): Promise<ServerProcess> {
  const where = words.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const cli = startCli([command, ...where, ...words], options);
  try {
    const [, address = ""] = await cli.waitFor("stderr", /^listening on (\S+)$/mu);
    return { ...cli, address };
  } catch (error) {
    await cli[Symbol.asyncDispose]();
    throw error;
  }
}
