// The door of the generated code: every service and message by its own name. Some services are called by another name
// here, because their own is taken or says too little: the unversioned ones and OpenTelemetry's `LogsService`.
export * from "./gen/sluice/files/v1/files_pb.ts";
export * from "./gen/sluice/logs/v1/logs_pb.ts";
export * from "./gen/sluice/metrics/v1/metrics_pb.ts";
export * from "./gen/sluice/metrics/v1/journal_pb.ts";
export * from "./gen/sluice/queues/v1/queues_pb.ts";
export * from "./gen/sluice/queues/v1/journal_pb.ts";
export * from "./gen/sluice/notifications/v1/notifications_pb.ts";
export * from "./gen/sluice/notifications/v1/journal_pb.ts";
export * from "./gen/sluice/stream/v1/stream_pb.ts";
export {
  FileService as SeedFileService,
  LogService as SeedLogService,
  MetricsService as SeedMetricsService,
} from "./gen/seed_pb.ts";
export { NotificationService as SeedNotificationService } from "./gen/notification_pb.ts";

export * from "./gen/opentelemetry/proto/common/v1/common_pb.ts";
export * from "./gen/opentelemetry/proto/resource/v1/resource_pb.ts";
export * from "./gen/opentelemetry/proto/logs/v1/logs_pb.ts";
export {
  LogsService as OtlpLogsService,
  ExportLogsServiceRequestSchema,
  ExportLogsServiceResponseSchema,
  ExportLogsPartialSuccessSchema,
  type ExportLogsServiceRequest,
  type ExportLogsServiceResponse,
  type ExportLogsPartialSuccess,
} from "./gen/opentelemetry/proto/collector/logs/v1/logs_service_pb.ts";

// Messages of ByteStream get its name in front: "ReadRequest" alone says too little beside all the others.
export {
  ByteStream,
  ReadResponseSchema as ByteStreamReadResponseSchema,
  type QueryWriteStatusRequest as ByteStreamStatusRequest,
  type ReadRequest as ByteStreamReadRequest,
  type WriteRequest as ByteStreamWriteRequest,
  WriteRequestSchema as ByteStreamWriteRequestSchema,
  type WriteResponse as ByteStreamWriteResponse,
} from "./gen/google/bytestream/bytestream_pb.ts";

export {
  AggregationTemporality,
  DataPointFlags,
  HistogramDataPointSchema,
  ExponentialHistogramDataPointSchema,
  ExponentialHistogramDataPoint_BucketsSchema,
  SummaryDataPointSchema,
  ExemplarSchema,
  type Exemplar,
  type HistogramDataPoint,
  type ExponentialHistogramDataPoint,
  type SummaryDataPoint,
  NumberDataPointSchema,
  type NumberDataPoint,
  MetricSchema as OtlpMetricSchema,
  ResourceMetricsSchema,
  ScopeMetricsSchema,
  type Metric as OtlpMetric,
  type ResourceMetrics,
} from "./gen/opentelemetry/proto/metrics/v1/metrics_pb.ts";
export {
  MetricsService as OtlpMetricsService,
  ExportMetricsServiceRequestSchema,
  ExportMetricsServiceResponseSchema,
  type ExportMetricsServiceRequest,
  type ExportMetricsServiceResponse,
} from "./gen/opentelemetry/proto/collector/metrics/v1/metrics_service_pb.ts";

// Prometheus' messages get the name of what they belong to in front.
export {
  WriteRequestSchema as RemoteWriteV1RequestSchema,
  MetricMetadata_MetricType as RemoteWriteV1Type,
  type Histogram as RemoteWriteV1Histogram,
  type WriteRequest as RemoteWriteV1Request,
} from "./gen/prometheus/remote_pb.ts";
export {
  RequestSchema as RemoteWriteV2RequestSchema,
  Metadata_MetricType as RemoteWriteV2Type,
  type Histogram as RemoteWriteV2Histogram,
  type Request as RemoteWriteV2Request,
} from "./gen/io/prometheus/write/v2/types_pb.ts";
export {
  MetricFamilySchema as PrometheusFamilySchema,
  MetricType as PrometheusType,
  type MetricFamily as PrometheusFamily,
  type Histogram as PrometheusHistogram,
} from "./gen/io/prometheus/client/metrics_pb.ts";
