// A server in this process, from its configuration to its clean end.
import { setFlagsFromString } from "node:v8";
import {
  type Config,
  createLogger,
  createOwnLog,
  type Logger,
  type LoadedConfig,
  nodeFileSystem,
  openServer,
  type Server,
  systemClock,
} from "@sluice/server";
import type { CommandContext } from "../output.ts";
import { toServerFailure } from "./server-failure.ts";

export interface RunningServer {
  readonly server: Server;
  readonly logger: Logger;
}

/**
 * How far the heap may grow until V8 marks all of it again, in percent: decision 0006. A server's heap is small (some
 * 20 MB), and what it reads and receives counts as grown until it is collected.
 */
const HEAP_GROWING_PERCENT = 400;

/** Opens a server that logs to stderr and into its own store. @throws CommandFailure that says what is in the way. */
export async function startServer(
  { config, warnings }: Pick<LoadedConfig, "config" | "warnings">,
  { stderr, environment }: CommandContext,
): Promise<RunningServer> {
  if (!process.execArgv.some((flag) => flag.startsWith("--heap-growing-percent"))) {
    setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  }
  const clock = systemClock;
  const ownLog = createOwnLog(clock);
  const logger = createLogger({
    format: config.logFormat,
    level: config.logLevel,
    clock,
    write: (line) => void stderr.write(line),
    copy: (line) => ownLog.write(line),
  });
  for (const warning of warnings) logger.warn(warning);
  try {
    const server = await openServer(config, { clock, fileSystem: nodeFileSystem, logger, ownLog, environment });
    return { server, logger };
  } catch (error) {
    throw toServerFailure(error);
  }
}

/** Resolves at Ctrl-C or SIGTERM. */
export async function untilStopped({ stop }: CommandContext): Promise<void> {
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener("abort", resolve, { once: true }));
}

/** Ends the server cleanly: open calls get the grace that is configured. */
export async function drain(
  { server, logger }: RunningServer,
  config: Config,
  { stop }: CommandContext,
): Promise<void> {
  const { drainGraceMs: graceMs } = config;
  logger.info({ event: "draining", signal: String(stop.reason), graceMs }, "draining");
  await server.drain({ graceMs });
  logger.info({ event: "stopped" }, "stopped");
}
