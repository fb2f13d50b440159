// The door of the package: to run a server in one's own process, and to look after its data.
export {
  type Config,
  ConfigError,
  type ConfigSources,
  type ConfigValue,
  type LoadedConfig,
  loadConfig,
  type Setting,
  settings,
} from "./config.ts";
export { SluiceError } from "./errors.ts";
export { PortInUse } from "./http/open-listeners.ts";
export { entryFrameCodec } from "./logs/frame-codec.ts";
export { metricsFrameCodec } from "./metrics/history/record.ts";
export { BadExposition } from "./metrics/prometheus-line.ts";
export { ExpositionPoints, type ExpositionPointsOptions } from "./metrics/prometheus-push.ts";
export { queueFrameCodec } from "./queues/journal/queue-journal.ts";
export { openServer, type Server, type ServerCounts } from "./server.ts";
export type { Surroundings } from "./surroundings.ts";
export { type BackupRequest, backUp, type LogBackup, restoreBackup } from "./store/backup.ts";
export { systemClock } from "./store/clock.ts";
export { type DoctorReport, examineDataFolder, type LogHealth, type SegmentHealth } from "./store/doctor.ts";
export type { FileSystem } from "./store/file-system.ts";
export { nodeFileSystem } from "./store/file-system-node.ts";
export { createLogger, type Logger } from "./telemetry/logger.ts";
export { createOwnLog, OWN_APPLICATION, type OwnLog } from "./telemetry/own-log.ts";
