// A real sidecar, in a process of its own.
import { type CliOptions, type CliProcess, startCli } from "./cli-process.ts";

export interface SidecarProcess extends CliProcess {
  /** "127.0.0.1:41234". */
  readonly address: string;
}

/** `sluice sidecar`, for workers on a free port of 127.0.0.1 unless the words say where. Resolves when it listens. */
export async function startSidecar(words: readonly string[], options: CliOptions): Promise<SidecarProcess> {
  const where = words.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const cli = startCli(["sidecar", ...where, ...words], options);
  try {
    const [, address = ""] = await cli.waitFor("stderr", /^listening on (\S+)$/mu);
    return { ...cli, address };
  } catch (error) {
    await cli[Symbol.asyncDispose]();
    throw error;
  }
}
