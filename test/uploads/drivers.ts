// The protocols that uploads come by.
import { openByteStreamDriver } from "./drivers/bytestream.ts";
import { openGrpcDriver } from "./drivers/grpc.ts";
import { openTusDriver } from "./drivers/tus.ts";
import type { OpenDriver } from "./upload-driver.ts";

export const DRIVERS: Readonly<Record<"FileService" | "ByteStream" | "tus", OpenDriver>> = {
  FileService: openGrpcDriver,
  ByteStream: openByteStreamDriver,
  tus: openTusDriver,
};
