import { expect, test } from "vitest";
import { prometheusLabel, prometheusName } from "./expose-names.ts";

// From the tests of github.com/prometheus/otlptranslator.
test.each([
  ["requests.count", "1", "counter", "requests_count_total"],
  ["memory.usage.ratio", "1", "gauge", "memory_usage_ratio"],
  ["memory.usage", "1", "gauge", "memory_usage_ratio"],
  ["request.count", "1", "histogram", "request_count"],
  ["request.duration", "s", "histogram", "request_duration_seconds"],
  ["memory.usage", "By", "gauge", "memory_usage_bytes"],
  ["throughput", "By/s", "gauge", "throughput_bytes_per_second"],
  ["rate", "requests/m", "gauge", "rate_requests_per_minute"],
  ["custom", "parsecs", "gauge", "custom_parsecs"],
  ["custom", "{custom}", "gauge", "custom"],
  ["custom", "By/{custom}", "gauge", "custom_bytes"],
  ["requests.total", "1", "counter", "requests_total"],
  ["requests.total.count", "1", "counter", "requests_count_total"],
  ["memory_bytes", "By", "gauge", "memory_bytes"],
  ["http_server_duration_seconds", "s", "histogram", "http_server_duration_seconds"],
  ["a__b..c", "", "gauge", "a_b_c"],
  ["42.answers", "", "gauge", "_42_answers"],
  ["cpu", "%", "gauge", "cpu_percent"],
  ["node:cpu:rate5m", "", "gauge", "node:cpu:rate5m"],
  ["...", "s", "gauge", ""],
] as const)("%s in %s, a %s, is called %s", (name, unit, type, expected) => {
  expect(prometheusName({ name, unit, type })).toBe(expected);
});

test.each([
  ["label:with:colons", "label_with_colons"],
  ["LabelWithCapitalLetters", "LabelWithCapitalLetters"],
  ["label!with&special$chars)", "label_with_special_chars_"],
  ["label.with.dots", "label_with_dots"],
  ["123label", "key_123label"],
  ["_label", "_label"],
  ["__label", "_label"],
  ["ようこそ", ""],
  ["label__with__double", "label_with_double"],
  ["__reserved__label__name__", "__reserved_label_name__"],
  ["trailing___", "trailing_"],
])("the label %s is called %s", (name, expected) => {
  expect(prometheusLabel(name)).toBe(expected);
});
