// ListNotifications: a page of an inbox, newest first.
//
// L1. A page costs what it returns: types that are not in memory are read from the bodies, a bounded number of them.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type ListNotificationsResponseSchema, type Notification, NotificationSchema } from "@sluice/api";
import { ByteSink } from "../stream/byte-sink.ts";
import type { InboxItem, NotificationStore } from "./contract.ts";
import { formatInboxCursor, positionAt } from "./cursor.ts";
import { typeIn, writeFields } from "./item-frames.ts";
import type { InboxQuery } from "./requests.ts";

/** An answer is cut short above: the limit of most clients is 4 MiB. */
const ANSWER_BYTES_MAX = 3 * 1024 * 1024;
/** Items looked at for one page: an inbox that has few of a type is read in several pages, some of them empty. */
const LOOKED_AT_MAX = 10_000;

type Response = MessageInitShape<typeof ListNotificationsResponseSchema>;

/** @throws DataLoss */
export async function listNotifications(store: NotificationStore, query: InboxQuery): Promise<Response> {
  const { userId, matchesType, pageSize, priorityMin, unreadOnly, includeArchived, topics } = query;
  const { epoch, head } = store;
  const counts = countsMessage(store, userId);
  const notifications: Notification[] = [];
  let [before, bytes, lookedAt] = [query.before, 0, 0];
  const sink = new ByteSink(1024);
  const isFull = (): boolean =>
    notifications.length >= pageSize || bytes >= ANSWER_BYTES_MAX || lookedAt >= LOOKED_AT_MAX;
  while (!isFull()) {
    const page = store.list(userId, {
      ...(before === undefined ? {} : { before }),
      max: pageSize - notifications.length,
      minPriority: priorityMin,
      unreadOnly,
      includeArchived,
      topics,
    });
    before = page.before;
    for (const item of page.items) {
      lookedAt++;
      const body = await store.body(item);
      if (body === undefined || (matchesType !== undefined && !matchesType(item.type ?? typeIn(body)))) continue;
      sink.used = 0;
      writeFields(sink, item, { body, cursor: cursorOf(item) });
      notifications.push(fromBinary(NotificationSchema, sink.bytes.subarray(0, sink.used)));
      bytes += sink.used;
      if (!isFull() || item === page.items.at(-1)) continue;
      before = item.sequence;
      break;
    }
    if (before === 0) break;
  }
  const isEnd = before === undefined || before === 0;
  return {
    notifications,
    nextPageToken: isEnd ? "" : formatInboxCursor(positionAt(epoch, before!), userId),
    counts,
    cursor: formatInboxCursor(positionAt(epoch, head), userId),
  };

  /** A subscription after it brings what came later. */
  function cursorOf({ sequence, isShared }: InboxItem): string {
    return formatInboxCursor(positionAt(epoch, sequence), isShared ? undefined : userId);
  }
}

export function countsMessage(store: NotificationStore, userId: string) {
  const { unread, unreadByPriority } = store.counts(userId);
  return { unread: BigInt(unread), unreadByPriority: unreadByPriority.map(BigInt) };
}
