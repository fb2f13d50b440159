// SETTINGS (RFC 9113 §6.5): what the peer said, checked; and how ours are written.
import { ConnectionError, DEFAULT_WINDOW_BYTES, ErrorCode, readUint32, WINDOW_BYTES_MAX } from "./frame.ts";

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

export interface AnnouncedLimits {
  readonly headerTableBytes: number;
  readonly streamWindowBytes: number;
  readonly frameBytesMax: number;
  readonly headerListBytesMax: number;
}

/** What both roles announce: identifier, value, identifier, value, …. */
export function sharedSettings(limits: AnnouncedLimits): number[] {
  // prettier-ignore
  return [
    Setting.HEADER_TABLE_SIZE, limits.headerTableBytes,
    Setting.INITIAL_WINDOW_SIZE, limits.streamWindowBytes,
    Setting.MAX_FRAME_SIZE, limits.frameBytesMax,
    Setting.MAX_HEADER_LIST_SIZE, limits.headerListBytesMax,
  ];
}

/** The peer's settings, at first the RFC's defaults. */
export class PeerSettings {
  concurrentStreamsMax = Infinity;
  initialWindowBytes = DEFAULT_WINDOW_BYTES;
  frameBytesMax = 16_384;
  /** The least HEADER_TABLE_SIZE ever said: this side's table never grows again. */
  leastTableBytes = 4096;

  /**
   * Takes one SETTINGS frame; unknown settings are ignored. Only the last value of a setting counts.
   * @param isFromServer a server must not say that the client may push.
   * @throws ConnectionError PROTOCOL_ERROR, FLOW_CONTROL_ERROR
   */
  read(bytes: Buffer, start: number, end: number, isFromServer: boolean): void {
    for (let at = start; at < end; at += 6) {
      const setting = (bytes[at]! << 8) | bytes[at + 1]!;
      const value = readUint32(bytes, at + 2);
      switch (setting) {
        case Setting.HEADER_TABLE_SIZE:
          this.leastTableBytes = Math.min(this.leastTableBytes, value);
          break;
        case Setting.ENABLE_PUSH:
          if (value > (isFromServer ? 0 : 1)) throw badSetting("ENABLE_PUSH", value);
          break;
        case Setting.MAX_CONCURRENT_STREAMS:
          this.concurrentStreamsMax = value;
          break;
        case Setting.INITIAL_WINDOW_SIZE:
          if (value > WINDOW_BYTES_MAX) throw badSetting("INITIAL_WINDOW_SIZE", value, ErrorCode.FLOW_CONTROL_ERROR);
          this.initialWindowBytes = value;
          break;
        case Setting.MAX_FRAME_SIZE:
          if (value < 16_384 || value > 0xffffff) throw badSetting("MAX_FRAME_SIZE", value);
          this.frameBytesMax = value;
          break;
      }
    }
  }
}

function badSetting(name: string, value: number, code: number = ErrorCode.PROTOCOL_ERROR): ConnectionError {
  return new ConnectionError(code, `SETTINGS_${name} of ${value}`);
}
