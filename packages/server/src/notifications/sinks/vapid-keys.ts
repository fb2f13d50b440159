// The keys by which push services know this server: made once, kept beside its data. Browsers subscribe for one public key;
// with other keys none of their subscriptions would be worth anything.
import webPush from "web-push";
import { DataLoss } from "../../errors.ts";
import { readWhole, writeAtomically } from "../../store/atomic-file.ts";
import type { FileSystem } from "../../store/file-system.ts";
import type { WebPushKeys } from "./web-push.ts";

const FILE_NAME = "web-push-keys.json";

/** @throws DataLoss when the file is there and holds none */
export async function openVapidKeys(fileSystem: FileSystem, folder: string): Promise<WebPushKeys> {
  const path = `${folder}/${FILE_NAME}`;
  const bytes = await readWhole(fileSystem, path);
  if (bytes !== undefined) return parseKeys(bytes.toString("utf8"), path);
  const keys = webPush.generateVAPIDKeys();
  await writeAtomically(fileSystem, folder, FILE_NAME, Buffer.from(`${JSON.stringify(keys, undefined, 2)}\n`));
  return keys;
}

function parseKeys(text: string, path: string): WebPushKeys {
  try {
    const { publicKey, privateKey } = JSON.parse(text) as Partial<WebPushKeys>;
    if (isKey(publicKey, 65) && isKey(privateKey, 32)) return { publicKey, privateKey };
  } catch {
    // Said below.
  }
  const advice = "restore it, or remove it: then browsers have to subscribe again";
  throw new DataLoss(`Cannot read the keys of web push in ${path}; ${advice}`, { file: path });
}

function isKey(key: unknown, bytes: number): key is string {
  return typeof key === "string" && Buffer.from(key, "base64url").length === bytes;
}
