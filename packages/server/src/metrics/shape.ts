// What a point has beside its number, as fields of MetricPoint: encoded once, when it comes, and sent as it is.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { MetricPointSchema } from "@sluice/api";

export function shapeOf(fields: MessageInitShape<typeof MetricPointSchema>): Uint8Array {
  return toBinary(MetricPointSchema, create(MetricPointSchema, fields));
}
