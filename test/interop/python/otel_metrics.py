"""OpenTelemetry's SDK for Python, set up as its documentation says: every kind of instrument, exported twice.

usage: otel_metrics.py grpc|http ADDRESS SERVICE
"""

import sys

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

protocol, address, service = sys.argv[1:]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(endpoint=f"http://{address}", insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    exporter = OTLPMetricExporter(endpoint=f"http://{address}/v1/metrics", compression=Compression.Gzip)

provider = MeterProvider(
    resource=Resource.create({"service.name": service}),
    metric_readers=[PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)],
    views=[View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())],
)
meter = provider.get_meter("python.meter", "1.2.3")
orders = meter.create_counter("orders", unit="{order}", description="Orders taken")
latency = meter.create_histogram("latency", unit="s", explicit_bucket_boundaries_advisory=[1, 5])
exponential = meter.create_histogram("exponential")
queue = meter.create_up_down_counter("queue")
meter.create_observable_gauge("warmth", callbacks=[lambda _: [Observation(21.5, {"room": "ü"})]])
for round in (1, 2):
    orders.add(3 * round, {"card": "visa"})
    latency.record(0.5)
    latency.record(7)
    exponential.record(4)
    queue.add(5 if round == 1 else -2)
    provider.force_flush()
provider.shutdown()
print("done")
