// Settings that every log may have of its own. At the top level they are those of all logs that say nothing of them.
import { z } from "zod";
import { DEFAULT_LOG_OPTIONS } from "../store/log.ts";
import { byteSize, duration, orOff } from "./types.ts";
import { formatBytes } from "./units.ts";

const SIZE_OR_OFF = orOff(byteSize("64KiB", "4096TiB"));

/** Type, and what is said of it. */
export const LOG_SETTINGS = {
  segmentBytes: {
    type: byteSize("64KiB", "2GiB"),
    description: "Size at which a log's segment is sealed and the next one begun.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LOG_OPTIONS.segmentBytes),
  },
  retainBytes: {
    type: SIZE_OR_OFF,
    description: "Bytes that a log keeps on disk; beyond it the oldest segments are removed.",
    placeholder: "size|off",
    default: "off",
  },
  retainAge: {
    type: orOff(duration("1s", "36500d")),
    description: "Age of a segment's newest entry after which it is removed.",
    placeholder: "duration|off",
    default: "off",
  },
  quotaBytes: {
    type: SIZE_OR_OFF,
    description: "Bytes on disk, indexes included, at which a log refuses writes.",
    placeholder: "size|off",
    default: "off",
  },
  minFreeBytes: {
    type: SIZE_OR_OFF,
    description:
      "While the disk has less than this free, the oldest segments are removed; when none is left, writes are refused.",
    placeholder: "size|off",
    default: "off",
  },
  compressAfter: {
    type: orOff(duration("1s", "36500d")),
    description: "Time after which a sealed segment is compressed (zstd).",
    placeholder: "duration|off",
    default: "off",
  },
} as const;

export const LOG_SETTING_NAMES = Object.keys(LOG_SETTINGS) as (keyof typeof LOG_SETTINGS)[];

/** All settings of one log. */
export const logSchema = z.strictObject({
  segmentBytes: LOG_SETTINGS.segmentBytes.type,
  retainBytes: LOG_SETTINGS.retainBytes.type,
  retainAge: LOG_SETTINGS.retainAge.type,
  quotaBytes: LOG_SETTINGS.quotaBytes.type,
  minFreeBytes: LOG_SETTINGS.minFreeBytes.type,
  compressAfter: LOG_SETTINGS.compressAfter.type,
});

/** The settings of one log as the server takes them; undefined: off. */
export interface LogSettings {
  readonly segmentBytes: number;
  readonly retainBytes: number | undefined;
  readonly retainAgeMs: number | undefined;
  readonly quotaBytes: number | undefined;
  readonly minFreeBytes: number | undefined;
  readonly compressAfterMs: number | undefined;
}

export function toLogSettings(parsed: z.output<typeof logSchema>): LogSettings {
  const { retainAge: retainAgeMs, compressAfter: compressAfterMs, ...rest } = parsed;
  return { ...rest, retainAgeMs, compressAfterMs };
}
