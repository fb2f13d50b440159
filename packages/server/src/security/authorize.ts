// Who may do what: the one question that every entrance asks before it does anything.
//
// A1. Every RPC, whatever protocol it came by, calls `authorize` with what it is about to touch, before it touches it.
// A2. `authorize` is synchronous: whatever a decision needs was gathered when the subject was made, so that the hot
//     unary path pays a function call. Whoever needs more (tokens, certificates) finds the subject, not the decision.
// A3. A denial has one text for all cases, so that nobody can probe what exists.
import type { Peer } from "@sluice/rpc";

/** Who is asking. */
export interface Subject {
  /** How they were recognised. */
  readonly kind: "anonymous" | "server";
  /** For people and audit lines: "anonymous", "sluice". */
  readonly name: string;
  /** Where they are: the peer's address, "127.0.0.1:5310"; "in-process" for the server itself. */
  readonly address: string;
}

/**
 * `describe`: learn what there is (reflection, health, names); `read`: contents; `write`: add contents; `consume`: take jobs
 * and say what became of them; `administer`: make, change and remove the thing itself, or others' contents.
 */
export type Action = "describe" | "read" | "write" | "consume" | "administer";

/** What is touched. The name is the resource's own: of a log "default", of a file its path, of an inbox its user, of a service its full protobuf name. */
export interface Resource {
  readonly type: "log" | "file" | "queue" | "metrics" | "inbox" | "topic" | "service";
  readonly name: string;
}

/** Returns when `subject` may do `action` to `resource`. @throws PermissionDenied otherwise. */
export type Authorize = (subject: Subject, action: Action, resource: Resource) => void;

/** The policy of a server without authentication. Such a server listens on loopback only, unless told otherwise. */
export const allowAll: Authorize = () => {};

/** The server on its own behalf: its own log. */
export const SERVER_SUBJECT: Subject = { kind: "server", name: "sluice", address: "in-process" };

const subjects = new WeakMap<Peer, Subject>();

/** Who makes this call: one subject per connection, made on its first call. */
export function subjectOf(call: { readonly peer: Peer }): Subject {
  const known = subjects.get(call.peer);
  if (known !== undefined) return known;
  const subject: Subject = { kind: "anonymous", name: "anonymous", address: call.peer.address };
  subjects.set(call.peer, subject);
  return subject;
}
