// Every bound of the server, with its reason. All can be configured.

export interface Limits {
  /** One stored entry with the server's fields: larger ones are attachments, not log lines. */
  readonly entryBytesMax: number;
  /** Fields of one entry. */
  readonly entryFieldsMax: number;
  /** Entries of one write: each that is refused costs a row of the answer. */
  readonly batchEntriesMax: number;
  /** UTF-8 bytes of an application's name: it is kept in memory. */
  readonly applicationBytesMax: number;
  /** UTF-8 bytes of a producer's id: it is kept in memory and in each of its entries. */
  readonly producerBytesMax: number;
  /** Applications that one read may name. */
  readonly queryApplicationsMax: number;
  /** Different applications in one log: each costs memory for its statistics. */
  readonly applicationsMax: number;
  /** Idempotent producers remembered per log; beyond it the one idle for longest is forgotten. */
  readonly producersMax: number;
  /** Bytes appended but not durable yet; at the bound writers wait. */
  readonly pendingBytesMax: number;
  /** Requests to write, of all logs together, that came and are not appended yet; above it they are refused. */
  readonly writesBytesMax: number;
  /** Filter terms of one request, and the length of each. */
  readonly filtersMax: number;
  readonly filterBytesMax: number;
  /** Open follows. */
  readonly followersMax: number;
  /** One received gRPC message, on the wire and again when decompressed: a write's whole batch. */
  readonly messageBytesMax: number;
  /** Downloads at once: each holds a descriptor and two blocks of its file. */
  readonly downloadsMax: number;
  /** Uploads that are not committed, being written or not: each is bytes on disk that nobody can see. */
  readonly uploadsMax: number;
  /** One upload: with the limit above a bound of what all of them take on disk. */
  readonly uploadBytesMax: number;
  /** Queues of the server: each is a log of its own, with its files and its table of jobs. */
  readonly queuesMax: number;
  /** Body of one job: larger ones are files, and their job says which. */
  readonly jobBytesMax: number;
  /** Headers of one job, names and values in UTF-8. */
  readonly jobHeaderBytesMax: number;
  /** UTF-8 bytes of a fairness key, an ordering key or a dedup id: they are kept in memory. */
  readonly jobKeyBytesMax: number;
  /** Jobs of one batch, and leases of one request. */
  readonly jobBatchMax: number;
  /** Workers' sessions, open or waiting for their worker to come back. */
  readonly workSessionsMax: number;
  /** Open watches of folders: each is a place in what is known of its folder. */
  readonly watchesMax: number;
  /** Files and folders that are watched, of all watched folders together: each is half a KiB of memory. */
  readonly watchEntriesMax: number;
  /** Folders of whose changes the system is asked to tell; further ones are looked at every few seconds. */
  readonly watchHintsMax: number;
  /** Removals remembered of a watched folder: who is further behind is told to start anew. */
  readonly watchRemovalsMax: number;
  /** Series of metrics: each costs about 700 bytes of memory, and its points. */
  readonly seriesMax: number;
  /** Of them, those that one subject brought; without authentication everybody is one. The rest is for the machine's own. */
  readonly seriesPerSubjectMax: number;
  /** The history of metrics in memory: beyond it the oldest points go sooner than they should. */
  readonly metricsHistoryBytesMax: number;
  /** Open subscriptions to metrics. */
  readonly subscriptionsMax: number;
  /** One notification as it is handed out. */
  readonly notificationBytesMax: number;
  /** Notifications of one Publish, and ids of one request that changes them. */
  readonly notificationBatchMax: number;
  /** Users and topics that one notification names. */
  readonly recipientsMax: number;
  /** UTF-8 bytes of a user's, a topic's or a device's name, of a collapse key and of an idempotency key. */
  readonly notificationNameBytesMax: number;
  /** Users with an inbox: each costs some 250 bytes of memory. */
  readonly usersMax: number;
  /** Topics, and how many of them a user may join. */
  readonly topicsMax: number;
  readonly topicsPerUserMax: number;
  /** Devices remembered of a user; beyond it the one that was away for longest is forgotten. */
  readonly devicesPerUserMax: number;
  /** Of an inbox: what was for its user directly. Policies may be stricter. */
  readonly inboxItemsMax: number;
  readonly inboxBytesMax: number;
  /** All that is for users directly, of all inboxes together: each costs some 48 bytes of memory. */
  readonly inboxItemsTotalMax: number;
  /** Of a topic, and of what is for everyone: the oldest go. */
  readonly sharedItemsMax: number;
  readonly sharedBytesMax: number;
  /** Idempotency keys and request ids that are remembered, for a day at most. */
  readonly rememberedKeysMax: number;
  /** Open subscriptions to notifications, and open watches of presence. */
  readonly devicesMax: number;
  /** Connections open at once; further ones are closed at once. Each costs a socket and up to some 100 KiB. */
  readonly connectionsMax: number;
  /** Calls that one connection may have open; one above is refused, and the client sends it later. */
  readonly callsPerConnectionMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  entryBytesMax: 1024 * 1024,
  entryFieldsMax: 1024,
  batchEntriesMax: 65_536,
  applicationBytesMax: 256,
  producerBytesMax: 256,
  queryApplicationsMax: 1024,
  applicationsMax: 100_000,
  producersMax: 100_000,
  pendingBytesMax: 64 * 1024 * 1024,
  writesBytesMax: 128 * 1024 * 1024,
  filtersMax: 64,
  filterBytesMax: 4096,
  followersMax: 1_000_000,
  messageBytesMax: 4 * 1024 * 1024,
  downloadsMax: 1000,
  uploadsMax: 1000,
  uploadBytesMax: 1024 ** 4,
  queuesMax: 256,
  jobBytesMax: 1024 * 1024,
  jobHeaderBytesMax: 16 * 1024,
  jobKeyBytesMax: 256,
  jobBatchMax: 10_000,
  workSessionsMax: 10_000,
  watchesMax: 1000,
  watchEntriesMax: 200_000,
  watchHintsMax: 8192,
  watchRemovalsMax: 50_000,
  seriesMax: 150_000,
  seriesPerSubjectMax: 120_000,
  metricsHistoryBytesMax: 512 * 1024 * 1024,
  subscriptionsMax: 100_000,
  notificationBytesMax: 64 * 1024,
  notificationBatchMax: 10_000,
  recipientsMax: 10_000,
  notificationNameBytesMax: 256,
  usersMax: 2_000_000,
  topicsMax: 100_000,
  topicsPerUserMax: 1000,
  devicesPerUserMax: 100,
  inboxItemsMax: 100_000,
  inboxBytesMax: 64 * 1024 * 1024,
  inboxItemsTotalMax: 20_000_000,
  sharedItemsMax: 1_000_000,
  sharedBytesMax: 1024 ** 3,
  rememberedKeysMax: 1_000_000,
  devicesMax: 100_000,
  connectionsMax: 10_000,
  callsPerConnectionMax: 1000,
};
