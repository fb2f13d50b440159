// What a stream of a log is opened with.
import type { LogReader, ScanQuery } from "../store/contract.ts";
import type { ControlFrames, NoticeControl } from "./control.ts";
import type { Resumption } from "./cursor.ts";
import type { Followers } from "./followers.ts";
import type { FrameFilter } from "./frame-filter.ts";
import type { MannerOptions } from "./manner.ts";

export interface FollowOptions {
  readonly reader: LogReader;
  readonly followers: Followers;
  /** Where to begin: after this sequence, or after the one that is found first. */
  readonly after: number | (() => Promise<number>);
  readonly query: ScanQuery;
  /** What the index cannot answer. */
  readonly filter: FrameFilter | undefined;
  /** Called before each step, as long as it answers true: applications that may yet appear. */
  readonly resolve: (() => boolean) | undefined;
  /** Go on after history. */
  readonly isFollowing: boolean;
  /** End after so many entries; Infinity: never. */
  readonly limit: number;
  /** Sent when there are any; without them a gap ends the stream. */
  readonly controls: ControlFrames | undefined;
  /** A gap of retention or of an era ends the stream also with controls. */
  readonly isStrict: boolean;
  /** Ms; 0: none. */
  readonly heartbeatMs: number;
  /** What the reader's cursor stands for and is not there any more. */
  readonly cut: Resumption["cut"];
  /** Sent first of all to whoever gets controls. */
  readonly notices: readonly NoticeControl[];
  /** What few streams ask for. */
  readonly manner: MannerOptions | undefined;
}
