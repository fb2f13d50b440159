// What a file's path says of the program that writes it.
import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

export interface DescribedFile {
  /** Whose lines these are when they do not say. */
  readonly application: string;
  /** Named as OpenTelemetry's semantic conventions name them. */
  readonly fields: Readonly<Record<string, string>>;
}

/** …/pods/NAMESPACE_POD_UID/CONTAINER/RESTARTS.log, as the kubelet lays them out. */
const POD = /\/(?<namespace>[^/_]+)_(?<pod>[^/_]+)_(?<uid>[^/_]+)\/(?<container>[^/]+)\/(?<restarts>\d+)\.log$/u;
/** …/containers/POD_NAMESPACE_CONTAINER-ID.log: links to the files above. */
const CONTAINER = /\/(?<pod>[^/_]+)_(?<namespace>[^/_]+)_(?<container>[^/]+)-(?<id>[0-9a-f]{64})\.log$/u;
/** …/containers/ID/ID-json.log, as Docker lays them out. */
const DOCKER = /\/(?<id>[0-9a-f]{64})\/\k<id>-json\.log$/u;
const SHORT_ID = 12;
const FIELD_NAMES: Readonly<Record<string, string>> = {
  namespace: "k8s.namespace.name",
  pod: "k8s.pod.name",
  uid: "k8s.pod.uid",
  container: "k8s.container.name",
  restarts: "k8s.container.restart_count",
  id: "container.id",
};

/** @param path absolute. */
export async function describeFile(path: string): Promise<DescribedFile> {
  const kubernetes = (POD.exec(path) ?? CONTAINER.exec(path))?.groups;
  if (kubernetes !== undefined) {
    return { application: kubernetes["container"] ?? "", fields: fieldsOf(kubernetes) };
  }
  const id = DOCKER.exec(path)?.groups?.["id"];
  if (id !== undefined) {
    const name = await findDockerName(dirname(path));
    const fields = { "container.id": id, ...(name === undefined ? {} : { "container.name": name }) };
    return { application: name ?? id.slice(0, SHORT_ID), fields };
  }
  return { application: basename(path).replace(/\.(?:log|txt|json|jsonl|ndjson)$/u, ""), fields: {} };
}

function fieldsOf(groups: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [group, value] of Object.entries(groups)) {
    const name = FIELD_NAMES[group];
    if (name !== undefined && value !== undefined) fields[name] = value;
  }
  return fields;
}

/** Docker keeps a container's settings beside its log; undefined: they are not there, or not ours to read. */
async function findDockerName(folder: string): Promise<string | undefined> {
  try {
    const settings: unknown = JSON.parse(await readFile(join(folder, "config.v2.json"), "utf8"));
    const name = typeof settings === "object" && settings !== null && "Name" in settings ? settings.Name : undefined;
    return typeof name === "string" && name !== "/" ? name.replace(/^\//u, "") : undefined;
  } catch {
    return undefined;
  }
}
