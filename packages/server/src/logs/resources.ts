// GetResources: what the numbers in resource_id and scope_id stand for.
import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type GetResourcesRequest,
  type GetResourcesResponseSchema,
  ResourceLogsSchema,
  ScopeLogsSchema,
} from "@sluice/api";
import type { Dictionary, DictionaryEntry } from "../store/dictionary.ts";
import { OriginKind } from "./origins.ts";

/** Those that are asked for, in ascending order of their ids; without any asked for, all. Unknown ids are left out. */
export function getResources(
  dictionary: Dictionary,
  { resourceIds, scopeIds }: GetResourcesRequest,
): MessageInitShape<typeof GetResourcesResponseSchema> {
  const isAll = resourceIds.length === 0 && scopeIds.length === 0;
  const found = isAll ? [...dictionary.entries()] : findAll(dictionary, [...resourceIds, ...scopeIds]);
  const resources = new Set(resourceIds);
  const scopes = new Set(scopeIds);
  const ofKind = (kind: number, ids: ReadonlySet<number>) =>
    found.filter((each) => each.kind === kind && (isAll || ids.has(each.id))).toSorted((a, b) => a.id - b.id);
  return {
    resources: ofKind(OriginKind.RESOURCE, resources).map(({ id, bytes }) => {
      const { resource, schemaUrl } = fromBinary(ResourceLogsSchema, bytes);
      return { resourceId: id, schemaUrl, ...(resource === undefined ? {} : { resource }) };
    }),
    scopes: ofKind(OriginKind.SCOPE, scopes).map(({ id, bytes }) => {
      const { scope, schemaUrl } = fromBinary(ScopeLogsSchema, bytes);
      return { scopeId: id, schemaUrl, ...(scope === undefined ? {} : { scope }) };
    }),
  };
}

function findAll(dictionary: Dictionary, ids: readonly number[]): DictionaryEntry[] {
  return [...new Set(ids)].map((id) => dictionary.find(id)).filter((entry) => entry !== undefined);
}
