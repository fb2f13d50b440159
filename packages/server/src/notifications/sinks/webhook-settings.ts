// Who hears of what somebody misses who is away, as it is written in the configuration: a name, a URL, and what is special.

export interface WebhookSetting {
  /** Stands in the jobs that wait: a webhook that is called otherwise is another one. */
  readonly name: string;
  readonly url: URL;
  /** A file that holds the key of the signature; undefined: it is not signed. */
  readonly secretFile: string | undefined;
  /** Globs; none: all. */
  readonly types: readonly string[];
  readonly minPriority: number;
}

export const WEBHOOK_ALLOWED = "NAME=URL, with ;secretFile=PATH, ;types=order.*|mail.* or ;minPriority=4 behind it";

/** What is wrong, if it is a text. */
export function parseWebhook(text: string): WebhookSetting | string {
  const [head = "", ...options] = text.split(";").map((part) => part.trim());
  const [, name = "", address = ""] = /^([A-Za-z0-9][A-Za-z0-9._-]{0,62})=(.*)$/su.exec(head) ?? [];
  const url = URL.parse(address);
  if (name === "") return "it has no name";
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return `"${address}" is no http URL`;
  let secretFile: string | undefined;
  let types: readonly string[] = [];
  let minPriority = 0;
  for (const option of options) {
    const at = option.indexOf("=");
    const key = option.slice(0, at).trim();
    const value = option.slice(at + 1).trim();
    if (key === "secretFile" && value !== "") secretFile = value;
    else if (key === "types" && value !== "") types = value.split("|").map((type) => type.trim());
    else if (key === "minPriority" && /^[0-7]$/u.test(value)) minPriority = Number(value);
    else return `"${option}" is no option`;
  }
  return { name, url, secretFile, types, minPriority };
}

/** The bytes of a signature's key: as they are, or base64 behind "whsec_" (Standard Webhooks). */
export function parseSecret(text: string): Uint8Array {
  const trimmed = text.trim();
  return trimmed.startsWith("whsec_") ? Buffer.from(trimmed.slice(6), "base64") : Buffer.from(trimmed);
}
