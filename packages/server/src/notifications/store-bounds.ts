// What a store takes at most of users, and of topics.
import { LimitExceeded } from "../errors.ts";
import { NONE } from "./engine/rows.ts";
import type { InboxState } from "./engine/state.ts";
import type { StoreLimits } from "./store-options.ts";

/** @param underway users that are on their way to the disk @throws LimitExceeded */
export function checkNewUser(
  state: InboxState,
  userId: string,
  of: { readonly usersMax: number; readonly underway: number },
): void {
  if (userId === "" || state.users.find(userId) !== NONE) return;
  const { usersMax, underway } = of;
  const users = state.users.size + underway;
  if (users < usersMax) return;
  throw new LimitExceeded(`Cannot make the user "${userId}": there are ${users}, the limit is ${usersMax}`, "users");
}

/** @throws LimitExceeded */
export function checkTopics(
  state: InboxState,
  change: { readonly userId: string; readonly joined: readonly string[] },
  limits: Pick<StoreLimits, "topicsMax" | "topicsPerUserMax">,
): void {
  const { userId, joined } = change;
  const { topicsMax, topicsPerUserMax } = limits;
  const { topics, users } = state;
  const made = joined.filter((name) => !topics.has(name)).length;
  if (topics.size + made > topicsMax) {
    throw new LimitExceeded(
      `Cannot make ${made} topics: there are ${topics.size}, the limit is ${topicsMax}`,
      "topics",
    );
  }
  const user = users.find(userId);
  const has = user === NONE ? 0 : (users.extra(user)?.memberships.size ?? 0);
  const added = joined.filter((name) => user === NONE || !state.isMember(user, name)).length;
  if (has + added > topicsPerUserMax) {
    throw new LimitExceeded(
      `Cannot join ${added} topics: the user has ${has}, left ones with notifications included, the limit is ${topicsPerUserMax}`,
      "topics of a user",
    );
  }
}
