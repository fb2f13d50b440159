// What a store of notifications answers without writing anything: the state as its users see it.
import { create } from "@bufbuild/protobuf";
import { type Policy, PolicySchema } from "@sluice/api";
import { NotFound } from "../errors.ts";
import type {
  DeviceView,
  InboxCounts,
  InboxItem,
  InboxReader,
  ListPage,
  ListQuery,
  PushDevice,
  PushRoute,
  ReaderListener,
  ReaderOptions,
  TopicView,
} from "./contract.ts";
import { policyOf } from "./engine/policies.ts";
import { StateInboxReader } from "./engine/reader.ts";
import { NONE } from "./engine/rows.ts";
import type { InboxState } from "./engine/state.ts";
import type { DeviceState } from "./engine/user-table.ts";
import { InboxViews } from "./engine/views.ts";

const NO_COUNTS: InboxCounts = { unread: 0, unreadByPriority: [0, 0, 0, 0, 0, 0, 0, 0] };
const NO_POLICY = create(PolicySchema);

/** The half of a store that reads: store.ts has the one that writes. */
export class StoreReading {
  protected readonly state: InboxState;
  protected readonly views: InboxViews;

  constructor(state: InboxState) {
    this.state = state;
    this.views = new InboxViews(state);
  }

  get epoch(): number {
    return this.state.era;
  }

  get head(): number {
    return this.state.head;
  }

  hasUser(userId: string): boolean {
    return this.state.users.find(userId) !== NONE;
  }

  counts(userId: string): InboxCounts {
    const user = this.state.users.find(userId);
    return user === NONE ? NO_COUNTS : this.views.counts(user);
  }

  list(userId: string, query: ListQuery): ListPage {
    const user = this.state.users.find(userId);
    return user === NONE ? { items: [], before: 0 } : this.views.list(user, query);
  }

  find(userId: string, id: number): InboxItem | undefined {
    const user = this.state.users.find(userId);
    return user === NONE ? undefined : this.views.find(user, id);
  }

  topics(userId: string, page: { readonly after: string; readonly max: number }): readonly TopicView[] {
    if (userId === "") return this.views.topics(undefined, page);
    const user = this.state.users.find(userId);
    return user === NONE ? [] : this.views.topics(user, page);
  }

  devices(userId: string): readonly DeviceView[] {
    return [...(this.devicesOf(userId) ?? [])].map(([deviceId, { ack, webPush, lastSeenMs }]) => ({
      deviceId,
      ack,
      webPush,
      lastSeenMs,
    }));
  }

  *webPushDevices({ userIds, topics, everyone }: PushRoute): Generator<PushDevice> {
    const { users, pushing } = this.state;
    const named = new Set(userIds);
    for (const user of pushing) {
      const userId = users.name(user);
      if (!everyone && !named.has(userId) && !topics.some((topic) => this.state.isMember(user, topic))) continue;
      for (const [deviceId, { webPush }] of users.extra(user)?.devices ?? []) {
        if (webPush !== undefined) yield { userId, deviceId, target: webPush };
      }
    }
  }

  policy(userId: string): { readonly policy: Policy; readonly isDefault: boolean } {
    const user = this.state.users.find(userId);
    const own = user === NONE ? undefined : this.state.users.extra(user)?.policy;
    if (own !== undefined) return { policy: own, isDefault: false };
    const policy = (user === NONE ? this.state.defaultPolicy : policyOf(this.state, user)) ?? NO_POLICY;
    return { policy, isDefault: true };
  }

  openReader(userId: string, options: ReaderOptions, listener: ReaderListener): InboxReader {
    const user = this.state.users.find(userId);
    if (user === NONE) throw new NotFound("user", userId, "it has had no contact yet");
    return new StateInboxReader({ state: this.state, views: this.views, user }, options, listener);
  }

  protected devicesOf(userId: string): ReadonlyMap<string, DeviceState> | undefined {
    const user = this.state.users.find(userId);
    return user === NONE ? undefined : this.state.users.extra(user)?.devices;
  }
}
