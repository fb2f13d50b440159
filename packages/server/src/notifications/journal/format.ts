// The records of notifications as a journal has them (docs/formats/notifications.md). The body of one is the notification in it.
import type { RecordFormat } from "../../journal/contract.ts";
import type { NewNotificationRecord } from "../contract.ts";
import type { AppliedRecord } from "../engine/records.ts";
import { findNotification, NotificationRecordReader } from "./decode.ts";
import { NotificationRecordEncoder, RecordKind } from "./encode.ts";

export const notificationRecords: RecordFormat<AppliedRecord, NewNotificationRecord> = {
  kindsMax: RecordKind.SERVER,
  createEncoder: () => new NotificationRecordEncoder(),
  createReader: () => new NotificationRecordReader(),
  // A user that is gone leaves nothing; users may hang on every other kind.
  isCarried: (kind) => kind !== RecordKind.DELETED,
  hasBody: ({ kind }) => kind?.case === "published" || kind?.case === "item",
  findBody: findNotification,
};
