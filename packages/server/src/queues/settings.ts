// Settings of a queue: as requests and records have them, and as the engine uses them.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type QueueSettings, QueueSettingsSchema } from "@sluice/api";
import { type FieldViolation, InvalidRequest } from "../errors.ts";
import type { Settings } from "./contract.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 3600 * SECOND;

/** Of a queue that says nothing of them. */
export const DEFAULT_SETTINGS: Settings = {
  leaseMs: 30 * SECOND,
  maxRunMs: DAY,
  graceMs: 30 * SECOND,
  offerMs: MINUTE,
  maxAttempts: 5,
  backoffMs: SECOND,
  backoffMaxMs: 10 * MINUTE,
  ageMs: MINUTE,
  dedupWindowMs: 10 * MINUTE,
  deadRetentionMs: 14 * DAY,
  jobsMax: 10_000_000,
  bytesMax: 16 * 1024 ** 3,
  workersMax: 10_000,
  windowMax: 10_000,
  weights: new Map(),
};

type NumberSetting = Exclude<keyof Settings, "weights">;

/** What is allowed of each, inclusive. */
const RANGES: Readonly<Record<NumberSetting, readonly [number, number]>> = {
  leaseMs: [100, DAY],
  maxRunMs: [1000, 365 * DAY],
  graceMs: [0, DAY],
  offerMs: [100, DAY],
  maxAttempts: [1, 1_000_000],
  backoffMs: [0, DAY],
  backoffMaxMs: [0, 30 * DAY],
  ageMs: [1, 30 * DAY],
  dedupWindowMs: [0, 365 * DAY],
  deadRetentionMs: [0, 3650 * DAY],
  jobsMax: [1, 100_000_000],
  bytesMax: [1024, 2 ** 50],
  workersMax: [1, 1_000_000],
  windowMax: [1, 1_000_000],
};
const WEIGHT_MAX = 1_000_000;
const WEIGHTS_MAX = 10_000;

/** Settings of which the message says some, and the rest is `base`. @throws InvalidRequest with all that is wrong */
export function parseSettings(message: QueueSettings | undefined, base: Settings = DEFAULT_SETTINGS): Settings {
  if (message === undefined) return base;
  const violations: FieldViolation[] = [];
  const settings = { ...base };
  for (const name of Object.keys(RANGES) as NumberSetting[]) {
    const value = message[name];
    if (value === undefined) continue;
    const [least, most] = RANGES[name];
    if (value < least || value > most) {
      violations.push({
        field: `settings.${snakeCase(name)}`,
        description: `${value} is not from ${least} to ${most}`,
      });
    } else settings[name] = Number(value);
  }
  const weights = Object.entries(message.weights);
  if (weights.length > WEIGHTS_MAX) {
    violations.push({ field: "settings.weights", description: `${weights.length} keys are more than ${WEIGHTS_MAX}` });
  }
  for (const [key, weight] of weights) {
    if (weight >= 1 && weight <= WEIGHT_MAX) continue;
    violations.push({ field: `settings.weights[${key}]`, description: `${weight} is not from 1 to ${WEIGHT_MAX}` });
  }
  if (settings.backoffMaxMs < settings.backoffMs) {
    const description = `${settings.backoffMaxMs} is less than backoff_ms, ${settings.backoffMs}`;
    violations.push({ field: "settings.backoff_max_ms", description });
  }
  if (violations.length > 0) throw new InvalidRequest("BAD_SETTING", violations);
  return weights.length === 0 ? settings : { ...settings, weights: new Map(weights) };
}

/** All of them, as answers and records have them. */
export function settingsMessage(settings: Settings): MessageInitShape<typeof QueueSettingsSchema> {
  const { maxRunMs, dedupWindowMs, deadRetentionMs, jobsMax, bytesMax, weights, ...rest } = settings;
  return create(QueueSettingsSchema, {
    ...rest,
    maxRunMs: BigInt(maxRunMs),
    dedupWindowMs: BigInt(dedupWindowMs),
    deadRetentionMs: BigInt(deadRetentionMs),
    jobsMax: BigInt(jobsMax),
    bytesMax: BigInt(bytesMax),
    weights: Object.fromEntries(weights),
  });
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
