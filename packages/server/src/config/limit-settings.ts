// The bounds of `limits.ts` as settings.
import { z } from "zod";
import { DEFAULT_LIMITS } from "../limits.ts";
import { setting } from "./setting.ts";
import { byteSize, count } from "./types.ts";
import { formatBytes } from "./units.ts";

export const limits = z.strictObject({
  entryBytesMax: setting(byteSize("1KiB", "64MiB"), {
    description: "One log entry with the fields that the server adds; larger ones are refused.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.entryBytesMax),
  }),
  entryFieldsMax: setting(count(1, 65_536), {
    description: "Fields of one log entry.",
    placeholder: "number",
    default: DEFAULT_LIMITS.entryFieldsMax,
  }),
  batchEntriesMax: setting(count(1, 10_000_000), {
    description: "Entries of one write.",
    placeholder: "number",
    default: DEFAULT_LIMITS.batchEntriesMax,
  }),
  applicationBytesMax: setting(byteSize("16B", "64KiB"), {
    description: "Length of an application's name in UTF-8.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.applicationBytesMax),
  }),
  producerBytesMax: setting(byteSize("16B", "64KiB"), {
    description: "Length of a producer's id in UTF-8.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.producerBytesMax),
  }),
  queryApplicationsMax: setting(count(1, 1_000_000), {
    description: "Applications that one read may name.",
    placeholder: "number",
    default: DEFAULT_LIMITS.queryApplicationsMax,
  }),
  applicationsMax: setting(count(1, 10_000_000), {
    description: "Different applications in one log. Each costs memory for its statistics.",
    placeholder: "number",
    default: DEFAULT_LIMITS.applicationsMax,
  }),
  producersMax: setting(count(1, 10_000_000), {
    description: "Idempotent producers remembered per log; beyond it the one idle for longest is forgotten.",
    placeholder: "number",
    default: DEFAULT_LIMITS.producersMax,
  }),
  pendingBytesMax: setting(byteSize("1MiB", "16GiB"), {
    description: "Bytes appended to a log but not yet on disk; at the bound streams wait, single writes are refused.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.pendingBytesMax),
  }),
  writesBytesMax: setting(byteSize("1MiB", "16GiB"), {
    description: "Requests to write, of all logs together, in hand and not yet appended; above it they are refused.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.writesBytesMax),
  }),
  filtersMax: setting(count(0, 1024), {
    description: "Filter terms of one request.",
    placeholder: "number",
    default: DEFAULT_LIMITS.filtersMax,
  }),
  filterBytesMax: setting(byteSize("16B", "1MiB"), {
    description: "Length of one filter term.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.filterBytesMax),
  }),
  followersMax: setting(count(1, 10_000_000), {
    description: "Streams that follow a log at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.followersMax,
  }),
  messageBytesMax: setting(byteSize("64KiB", "1GiB"), {
    description: "One received message, before and after decompression: the whole batch of a write.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.messageBytesMax),
  }),
  downloadsMax: setting(count(1, 1_000_000), {
    description: "Downloads at the same time. Each holds an open file and half a MiB, more with larger chunks.",
    placeholder: "number",
    default: DEFAULT_LIMITS.downloadsMax,
  }),
  uploadsMax: setting(count(1, 1_000_000), {
    description: "Uploads that are kept until they are committed, aborted or too old.",
    placeholder: "number",
    default: DEFAULT_LIMITS.uploadsMax,
  }),
  uploadBytesMax: setting(byteSize("1KiB", "1024TiB"), {
    description: "Size of one uploaded file.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.uploadBytesMax),
  }),
  queuesMax: setting(count(0, 100_000), {
    description: "Queues of jobs. Each has a log of its own.",
    placeholder: "number",
    default: DEFAULT_LIMITS.queuesMax,
  }),
  jobBytesMax: setting(byteSize("1KiB", "64MiB"), {
    description: "Body of one job.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.jobBytesMax),
  }),
  jobHeaderBytesMax: setting(byteSize("0B", "1MiB"), {
    description: "Headers of one job, names and values together.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.jobHeaderBytesMax),
  }),
  jobKeyBytesMax: setting(byteSize("16B", "4KiB"), {
    description: "Length of a fairness key, an ordering key or a dedup id in UTF-8.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.jobKeyBytesMax),
  }),
  jobBatchMax: setting(count(1, 1_000_000), {
    description: "Jobs of one batch, and leases of one request of a worker.",
    placeholder: "number",
    default: DEFAULT_LIMITS.jobBatchMax,
  }),
  workSessionsMax: setting(count(1, 10_000_000), {
    description: "Workers at all queues, those included whose connection was lost and who may come back.",
    placeholder: "number",
    default: DEFAULT_LIMITS.workSessionsMax,
  }),
  watchesMax: setting(count(1, 1_000_000), {
    description: "Watches of folders open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchesMax,
  }),
  watchEntriesMax: setting(count(1, 100_000_000), {
    description: "Files and folders in all watched folders together. Each costs half a KiB of memory.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchEntriesMax,
  }),
  watchHintsMax: setting(count(0, 10_000_000), {
    description: "Folders that the system watches for the server (inotify); others are looked at every few seconds.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchHintsMax,
  }),
  watchRemovalsMax: setting(count(1, 100_000_000), {
    description: "Removals remembered of a watched folder, for readers that are slow or away.",
    placeholder: "number",
    default: DEFAULT_LIMITS.watchRemovalsMax,
  }),
  seriesMax: setting(count(1, 100_000_000), {
    description:
      "Series of metrics; points of further ones are refused. Each costs about 700 bytes of memory, and its points.",
    placeholder: "number",
    default: DEFAULT_LIMITS.seriesMax,
  }),
  seriesPerSubjectMax: setting(count(1, 100_000_000), {
    description: "Of them, those that one subject may bring; without authentication everybody is one.",
    placeholder: "number",
    default: DEFAULT_LIMITS.seriesPerSubjectMax,
  }),
  metricsHistoryBytesMax: setting(byteSize("16MiB", "1TiB"), {
    description: "History of metrics in memory; beyond it the oldest points go sooner than `metrics.history` says.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.metricsHistoryBytesMax),
  }),
  subscriptionsMax: setting(count(1, 100_000_000), {
    description: "Subscriptions to metrics open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.subscriptionsMax,
  }),
  notificationBytesMax: setting(byteSize("1KiB", "1MiB"), {
    description: "One notification, as it is handed out.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.notificationBytesMax),
  }),
  notificationBatchMax: setting(count(1, 1_000_000), {
    description: "Notifications of one Publish, and ids of one request that changes or deletes them.",
    placeholder: "number",
    default: DEFAULT_LIMITS.notificationBatchMax,
  }),
  recipientsMax: setting(count(1, 1_000_000), {
    description: "Users and topics that one notification names.",
    placeholder: "number",
    default: DEFAULT_LIMITS.recipientsMax,
  }),
  notificationNameBytesMax: setting(byteSize("16B", "4KiB"), {
    description:
      "Length in UTF-8 of the name of a user, a topic or a device, of a collapse key and of an idempotency key.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.notificationNameBytesMax),
  }),
  usersMax: setting(count(1, 1_000_000_000), {
    description: "Users with an inbox. Each costs some 250 bytes of memory.",
    placeholder: "number",
    default: DEFAULT_LIMITS.usersMax,
  }),
  topicsMax: setting(count(1, 100_000_000), {
    description: "Topics of notifications.",
    placeholder: "number",
    default: DEFAULT_LIMITS.topicsMax,
  }),
  topicsPerUserMax: setting(count(1, 1_000_000), {
    description: "Topics that one user has joined.",
    placeholder: "number",
    default: DEFAULT_LIMITS.topicsPerUserMax,
  }),
  devicesPerUserMax: setting(count(1, 100_000), {
    description: "Devices remembered of a user; beyond it the one that was away for longest is forgotten.",
    placeholder: "number",
    default: DEFAULT_LIMITS.devicesPerUserMax,
  }),
  inboxItemsMax: setting(count(1, 100_000_000), {
    description: "Notifications in one inbox that were for its user directly. Policies may be stricter, not laxer.",
    placeholder: "number",
    default: DEFAULT_LIMITS.inboxItemsMax,
  }),
  inboxBytesMax: setting(byteSize("1KiB", "1024GiB"), {
    description: "The same in bytes.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.inboxBytesMax),
  }),
  inboxItemsTotalMax: setting(count(1, 1_000_000_000), {
    description: "Notifications for users directly in all inboxes together. Each costs some 48 bytes of memory.",
    placeholder: "number",
    default: DEFAULT_LIMITS.inboxItemsTotalMax,
  }),
  sharedItemsMax: setting(count(1, 1_000_000_000), {
    description: "Notifications kept of a topic, and of what is for everyone; beyond it the oldest go.",
    placeholder: "number",
    default: DEFAULT_LIMITS.sharedItemsMax,
  }),
  sharedBytesMax: setting(byteSize("1KiB", "1024TiB"), {
    description: "The same in bytes.",
    placeholder: "size",
    default: formatBytes(DEFAULT_LIMITS.sharedBytesMax),
  }),
  rememberedKeysMax: setting(count(1, 1_000_000_000), {
    description: "Idempotency keys and request ids of notifications that are remembered, each for a day at most.",
    placeholder: "number",
    default: DEFAULT_LIMITS.rememberedKeysMax,
  }),
  devicesMax: setting(count(1, 100_000_000), {
    description: "Subscriptions to notifications and watches of presence open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.devicesMax,
  }),
  connectionsMax: setting(count(1, 1_000_000), {
    description: "Connections open at the same time; further ones are closed at once.",
    placeholder: "number",
    default: DEFAULT_LIMITS.connectionsMax,
  }),
  callsPerConnectionMax: setting(count(1, 1_000_000), {
    description: "Calls that one connection may have open at the same time.",
    placeholder: "number",
    default: DEFAULT_LIMITS.callsPerConnectionMax,
  }),
});
