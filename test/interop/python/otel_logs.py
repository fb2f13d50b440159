"""OpenTelemetry's SDK for Python, set up as its documentation says: logs through logging, and records of all kinds.

usage: otel_logs.py grpc|http ADDRESS SERVICE
"""

import logging
import sys

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

protocol, address, service = sys.argv[1:]
if protocol == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    exporter = OTLPLogExporter(endpoint=f"http://{address}", insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    exporter = OTLPLogExporter(endpoint=f"http://{address}/v1/logs", compression=Compression.Gzip)

provider = LoggerProvider(resource=Resource.create({"service.name": service, "service.version": "7"}))
provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
logger = provider.get_logger("python.records", "1.2.3")
logger.emit(
    LogRecord(
        timestamp=1_760_000_000_000_000_001,
        observed_timestamp=1_760_000_000_000_000_002,
        severity_number=SeverityNumber.WARN3,
        severity_text="careful",
        body={"event": "cart", "items": [1, 2.5, "three", None, True, b"\x00\xff"]},
        attributes={"user": "ü 😀", "count": 3, "ratio": 0.25, "ok": False, "tags": ["a", "b"]},
        event_name="cart.opened",
    )
)
for i in range(1000):
    logger.emit(LogRecord(timestamp=1_760_000_000_000_000_010 + i, body=f"record {i}", severity_number=SeverityNumber.INFO))
provider.shutdown()
print("done")
