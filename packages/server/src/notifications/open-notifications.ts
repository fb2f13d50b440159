// Notifications of a server: their store, who is connected, and the service.
import type { Limits } from "../limits.ts";
import type { Authorize } from "../security/authorize.ts";
import type { Clock } from "../store/contract.ts";
import type { DataFolder } from "../store/data-folder.ts";
import type { FileSystem } from "../store/file-system.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { NotificationStore } from "./contract.ts";
import { Presence } from "./presence.ts";
import { openReopeningStore } from "./reopening-store.ts";
import { createNotificationService, type NotificationServiceHandle } from "./service.ts";
import type { Sinks } from "./sinks/sinks.ts";
import { openNotificationStore } from "./store.ts";

export interface OpenNotificationsRequest {
  readonly folder: Pick<DataFolder, "notificationsFolder">;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  readonly logger: Logger;
  readonly limits: Limits;
  readonly authorize: Authorize;
  /** How long those who left are remembered. */
  readonly awayMs: number;
  /** Opens what tells those who are away. */
  readonly openSinks: (parts: {
    readonly presence: Presence;
    readonly store: () => NotificationStore;
  }) => Promise<AsyncDisposable & { readonly sinks: Sinks | undefined }>;
}

/** The service; disposing closes its store. */
export interface OpenNotifications extends NotificationServiceHandle, AsyncDisposable {}

/** A store that cannot be opened keeps no other service from it: it is tried again. */
export async function openNotifications(request: OpenNotificationsRequest): Promise<OpenNotifications> {
  const { fileSystem, clock, random, logger, limits, authorize, awayMs, openSinks } = request;
  const { notificationsFolder: folder } = request.folder;
  const onFault = (text: string): void => logger.warn({ event: "notifications-fault" }, text);
  const open = () => openNotificationStore({ folder, fileSystem, clock, limits, random, onFault });
  await using opened = new AsyncDisposableStack();
  const source = opened.use(await openReopeningStore({ clock, logger, open }));
  const presence = new Presence(clock, awayMs);
  const { sinks } = opened.use(await openSinks({ presence, store: () => source.current }));
  const service = createNotificationService({ source, authorize, clock, limits, presence, sinks });
  const parts = opened.move();
  return Object.assign(service, { [Symbol.asyncDispose]: () => parts.disposeAsync() });
}
