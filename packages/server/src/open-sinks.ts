// Opens what tells those who are away, where the configuration wants it: the queue that it waits in, and who works it off.
import type { Config } from "./config.ts";
import { SluiceError } from "./errors.ts";
import type { NotificationStore } from "./notifications/contract.ts";
import type { Presence } from "./notifications/presence.ts";
import { Sinks } from "./notifications/sinks/sinks.ts";
import { openVapidKeys } from "./notifications/sinks/vapid-keys.ts";
import { parseSecret } from "./notifications/sinks/webhook-settings.ts";
import type { QueueCatalog } from "./queues/contract.ts";
import { OwnQueue } from "./queues/own-queue.ts";
import type { DataFolder } from "./store/data-folder.ts";
import { readWhole } from "./store/atomic-file.ts";
import type { FileSystem } from "./store/file-system.ts";
import type { Surroundings } from "./surroundings.ts";

export interface OpenSinksRequest {
  readonly config: Config;
  readonly folder: DataFolder;
  readonly surroundings: Surroundings;
  readonly catalog: QueueCatalog;
  readonly presence: Presence;
  readonly store: () => NotificationStore;
}

export interface OpenSinks extends AsyncDisposable {
  /** undefined: nobody is told. */
  readonly sinks: Sinks | undefined;
}

/** Where everybody can look at what waits, and at what could not be told. */
const QUEUE = "notification-sinks";
const SLOTS = 32;
const SECOND_MS = 1000;
const DAY_MS = 24 * 3600 * SECOND_MS;
/** Twenty attempts in some 19 hours. */
const SETTINGS = {
  // Its only worker is this process: nobody comes back to what ran when another one was killed.
  graceMs: 0,
  leaseMs: 60 * SECOND_MS,
  maxAttempts: 20,
  backoffMs: 5 * SECOND_MS,
  backoffMaxMs: 7200 * SECOND_MS,
  dedupWindowMs: DAY_MS,
  deadRetentionMs: 30 * DAY_MS,
};

/** @throws SluiceError when the file of a secret cannot be read; DataLoss */
export async function openSinks(request: OpenSinksRequest): Promise<OpenSinks> {
  const { config, folder, surroundings, catalog, presence, store } = request;
  const { clock, fileSystem, logger } = surroundings;
  const { webhooks, webPush, awayMs } = config.notifications;
  if (webhooks.length === 0 && webPush === undefined)
    return { sinks: undefined, [Symbol.asyncDispose]: async () => {} };
  const settings = {
    webhooks: await Promise.all(
      webhooks.map(async ({ name, url, secretFile, types, minPriority }) => {
        const secret = secretFile === undefined ? undefined : await readSecret(fileSystem, secretFile);
        return { target: { name, url }, secret, types, minPriority };
      }),
    ),
    webPush: webPush === undefined ? undefined : { ...webPush, keys: await openVapidKeys(fileSystem, folder.path) },
    awayMs,
  };
  const sinks: Sinks = new Sinks({ settings, queue: { add: (jobs) => queue.add(jobs) }, store, presence, clock });
  const queue = new OwnQueue({
    catalog,
    clock,
    logger,
    name: QUEUE,
    settings: SETTINGS,
    slots: SLOTS,
    handle: (body, signal) => sinks.handle(body, signal),
  });
  return { sinks, [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose]() };
}

async function readSecret(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  const bytes = await readWhole(fileSystem, path).catch(() => undefined);
  const secret = parseSecret(bytes?.toString("utf8") ?? "");
  if (secret.length > 0) return secret;
  const text = `Cannot sign webhooks: ${path} cannot be read or is empty; it holds the secret that both sides know`;
  throw new SluiceError("failed-precondition", text, { reason: "SECRET_UNREADABLE" });
}
