// What OpenTelemetry's own JavaScript SDK sends (sdk-logs and otlp-transformer 0.223.1): three records of one resource.
//
// Made by emitting, on a logger "cart" 1.2.3 of the service "checkout":
//   1. ERROR "payment failed: Straße 😀" in a sampled span, with attributes of every kind
//   2. severity 10 without a text, a map as body, the event name "cart.opened"
//   3. a number as body and nothing else
export const SDK_EXPORT = Buffer.from(
  [
    "CtkDCjEKGgoMc2VydmljZS5uYW1lEgoKCGNoZWNrb3V0ChEKCWhvc3QubmFtZRIECgJoMRAAEqMDCg0KBGNhcnQSBTEuMi4z",
    "EqkCCRXNC9ysxmwYEBEaBUVSUk9SKh4KHHBheW1lbnQgZmFpbGVkOiBTdHJhw59lIPCfmIAyEgoLaHR0cC5zdGF0dXMSAxj2",
    "AzIICgJvaxICEAAyEgoFcmF0aW8SCSEAAAAAAADQPzIQCgNiaWcSCRj/////////DzIXCghuZWdhdGl2ZRILGP3/////////",
    "/wEyFwoEbGlzdBIPKg0KAwoBYQoCGAEKAhABMiUKBm5lc3RlZBIbMhkKFwoBYRISMhAKDgoBYhIJKgcKAAoDCgF4Mg4KBWJ5",
    "dGVzEgU6AwEC/zIPCgR0ZXh0EgcKBXBsYWluMgsKB25vdGhpbmcSADgARQEAAABKEAr3ZRkWzUPdhEjrIRyAMZxSCLeta3Fp",
    "IDMxWQXKShCtxmwYEkwJFa4B4qzGbBgQCionMiUKFgoFZXZlbnQSDQoLY2FydC5vcGVuZWQKCwoFaXRlbXMSAhgDOABZBspK",
    "EK3GbBhiC2NhcnQub3BlbmVkEhgJAAT5EQ8H6hgqAhgqOABZB8pKEK3GbBg=",
  ].join(""),
  "base64",
);
