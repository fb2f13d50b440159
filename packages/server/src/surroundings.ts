// What a server stands in.
import type { Clock } from "./store/contract.ts";
import type { FileSystem } from "./store/file-system.ts";
import type { Logger } from "./telemetry/logger.ts";
import type { OwnLog } from "./telemetry/own-log.ts";

/** What a server is given: time and files are its surroundings'. */
export interface Surroundings {
  readonly clock: Clock;
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
  /** Where the server's own log goes besides; it becomes the application "sluice". */
  readonly ownLog?: OwnLog;
  /** Where a service manager says which sockets it passed (LISTEN_FDS). Default: nothing was passed. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}
