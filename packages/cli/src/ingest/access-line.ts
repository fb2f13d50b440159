// Lines that a web server writes of its requests: the common and the combined log format of Apache and nginx.
//
// Sources: https://httpd.apache.org/docs/2.4/logs.html#accesslog and
// https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format
//
//   192.0.2.7 - ada [21/Nov/2026:08:43:01 +0000] "GET /teapot HTTP/1.1" 418 12 "https://example.org/" "curl/8.5"
import type { NewLogEntry } from "@sluice/client";
import { findClfTimestamp } from "./timestamp.ts";

const QUOTED = String.raw`"((?:[^"\\]|\\.)*)"`;
/** Apache's vhost_combined has the host and its port before all. */
const LINE = new RegExp(
  String.raw`^(?:(\S+:\d+) )?(\S+) (\S+) ([^[\]"]*?) (\[[^\]]+\]) ${QUOTED} (\d{3}|-) (\d+|-)(?: ${QUOTED} ${QUOTED})?(?: (.*))?$`,
  "u",
);
const REQUEST = /^([A-Z]+) (\S+)(?: (HTTP\/[\d.]+))?$/u;

/** The request is the message; undefined: it is no such line. What a line has behind the combined format is the field `rest`. */
export function parseAccessLine(text: string): NewLogEntry | undefined {
  const match = LINE.exec(text);
  if (match === null) return undefined;
  const [, vhost, client, ident, user, time = "", request = "", status, bytes, referer, userAgent, rest] = match;
  const timestamp = findClfTimestamp(time);
  if (timestamp === undefined) return undefined;
  const [, method, path, protocol] = REQUEST.exec(request) ?? [];
  const named = { vhost, client, ident, user, method, path, protocol, status, bytes, referer, userAgent, rest };
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(named)) {
    if (value !== undefined && value !== "-" && value !== "")
      fields[name === "userAgent" ? "user_agent" : name] = value;
  }
  return { message: request, timestamp, fields };
}
