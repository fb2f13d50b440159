// grpc.reflection.v1 and v1alpha, as tools ask.
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, type FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import {
  Code,
  createClient,
  HealthRegistry,
  serve,
  serveHealth,
  serveReflection,
  type Channel,
  type SocketTransport,
} from "@sluice/rpc";
import { expect, test } from "vitest";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "../../packages/rpc/src/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "../../packages/rpc/src/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { EchoService } from "./gen/echo_pb.ts";
import { echoHandlers, overBothTransports, startEcho, type Echo } from "./support.ts";

type Question = ServerReflectionRequest["messageRequest"];

async function startReflecting(transport: SocketTransport): Promise<Echo> {
  const services = [serve(EchoService, echoHandlers), serveHealth(new HealthRegistry())];
  return startEcho(transport, { services: [...services.slice(1), ...serveReflection(services)] });
}

async function ask(channel: Channel, ...questions: Question[]) {
  async function* requests() {
    for (const messageRequest of questions) yield { host: "h", messageRequest };
  }
  const answers = await Array.fromAsync(createClient(ServerReflection, channel).serverReflectionInfo(requests()));
  expect(answers.map(({ originalRequest }) => originalRequest?.messageRequest)).toEqual(questions);
  return answers.map(({ messageResponse }) => messageResponse);
}

async function filesOf(channel: Channel, question: Question): Promise<FileDescriptorProto[]> {
  const [answer] = await ask(channel, question);
  if (answer?.case !== "fileDescriptorResponse") throw new Error(`No files, but ${answer?.case}`);
  return answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
}

overBothTransports((transport) => {
  test.each([
    ["v1", ServerReflection],
    ["v1alpha", ServerReflectionV1Alpha],
  ])("%s lists all services", async (_version, service) => {
    await using echo = await startReflecting(transport);
    async function* requests() {
      yield { messageRequest: { case: "listServices", value: "" } } as const;
    }
    const [answer] = await Array.fromAsync(createClient(service, echo.channel).serverReflectionInfo(requests()));
    if (answer?.messageResponse.case !== "listServicesResponse") throw new Error("no list");
    expect(answer.messageResponse.value.service.map(({ name }) => name)).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "sluice.test.v1.EchoService",
    ]);
  });

  test.each([
    ["a service", "sluice.test.v1.EchoService", "echo.proto"],
    ["a method", "sluice.test.v1.EchoService.Count", "echo.proto"],
    ["a message", "sluice.test.v1.EchoRequest", "echo.proto"],
    ["a field", "sluice.test.v1.EchoRequest.payload", "echo.proto"],
    ["a map entry", "sluice.test.v1.EchoResponse.ShapesEntry", "echo.proto"],
    ["a field of a map entry", "sluice.test.v1.EchoResponse.ShapesEntry.value", "echo.proto"],
    ["a message of an imported file", "sluice.test.v1.Shape", "shapes.proto"],
    ["a nested message", "sluice.test.v1.Shape.Corner", "shapes.proto"],
    ["a nested enum", "sluice.test.v1.Shape.Colour", "shapes.proto"],
    ["an enum's value", "sluice.test.v1.Shape.COLOUR_RED", "shapes.proto"],
    ["a oneof", "sluice.test.v1.Shape.size", "shapes.proto"],
    ["an extension", "sluice.test.v1.label", "shapes.proto"],
    ["a nested extension", "sluice.test.v1.ShapeExtensions.layer", "shapes.proto"],
    ["an error's detail", "google.rpc.BadRequest.FieldViolation", "google/rpc/error_details.proto"],
    ["reflection itself", "grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"],
  ])("the file that declares %s", async (_what, value, name) => {
    await using echo = await startReflecting(transport);
    const files = await filesOf(echo.channel, { case: "fileContainingSymbol", value });
    expect(files[0]?.name).toBe(name);
  });

  test("a file comes with what it imports, so that it can be linked", async () => {
    await using echo = await startReflecting(transport);
    const files = await filesOf(echo.channel, { case: "fileByFilename", value: "echo.proto" });
    expect(files.map(({ name }) => name)).toEqual(["echo.proto", "shapes.proto"]);
    const byName = new Map(files.map((file) => [file.name, file]));
    const registry = createFileRegistry(files[0]!, (name) => byName.get(name));
    expect(registry.getService("sluice.test.v1.EchoService")?.methods.map(({ name }) => name)).toContain("Chat");
    expect(registry.getMessage("sluice.test.v1.EchoResponse")?.field["shapes"]?.fieldKind).toBe("map");
  });

  test("extensions: by number, and all numbers of a type", async () => {
    await using echo = await startReflecting(transport);
    const containingType = "sluice.test.v1.Shape";
    const answers = await ask(
      echo.channel,
      {
        case: "fileContainingExtension",
        value: { $typeName: "grpc.reflection.v1.ExtensionRequest", containingType, extensionNumber: 101 },
      },
      { case: "allExtensionNumbersOfType", value: containingType },
      { case: "allExtensionNumbersOfType", value: "sluice.test.v1.EchoRequest" },
    );
    expect(answers.map((answer) => answer.case)).toEqual([
      "fileDescriptorResponse",
      "allExtensionNumbersResponse",
      "allExtensionNumbersResponse",
    ]);
    expect(answers.slice(1).map(({ value }) => value)).toMatchObject([
      { baseTypeName: containingType, extensionNumber: [100, 101] },
      { extensionNumber: [] },
    ]);
  });

  test("what is not known is an answer, not the end of the stream", async () => {
    await using echo = await startReflecting(transport);
    const answers = await ask(
      echo.channel,
      { case: "fileContainingSymbol", value: "no.such.Symbol" },
      { case: "fileByFilename", value: "no/such.proto" },
      { case: "allExtensionNumbersOfType", value: "no.such.Type" },
      { case: "listServices", value: "*" },
    );
    for (const answer of answers.slice(0, 3)) {
      expect(answer).toMatchObject({ case: "errorResponse", value: { errorCode: Code.NOT_FOUND } });
    }
    expect(answers[3]?.case).toBe("listServicesResponse");
  });

  test("a question without content is INVALID_ARGUMENT", async () => {
    await using echo = await startReflecting(transport);
    await expect(ask(echo.channel, { case: undefined })).rejects.toMatchObject({ code: Code.INVALID_ARGUMENT });
  });
});
