"""Watches a folder as any program in Python would, changes it meanwhile, and says what it heard as one line of JSON.

watch.py ADDRESS FOLDER, where FOLDER is what the server shares.
"""

import json
import os
import sys

import grpc
from sluice.files.v1 import files_pb2, files_pb2_grpc


def heard(message) -> list[str]:
    lines = []
    if message.HasField("resync"):
        lines.append("resync " + files_pb2.ResyncReason.Name(message.resync.reason))
    for change in message.changes:
        lines.append(files_pb2.FileChangeKind.Name(change.kind) + " " + change.file.file_path)
    if message.control.WhichOneof("kind") == "sync":
        lines.append("sync")
    return lines


def watch(stub, last: str, token: str = "", on_sync=lambda: None):
    """All that is heard up to and including a line, and the place behind it."""
    call = stub.WatchFiles(
        files_pb2.WatchFilesRequest(recursive=True, include_existing=True, resume_token=token, heartbeat_ms=1000)
    )
    lines = []
    for message in call:
        lines += heard(message)
        token = message.resume_token or message.control.sync.cursor or token
        if "sync" in heard(message):
            on_sync()
        if last in lines:
            call.cancel()
            return lines, token
    raise RuntimeError("The watch came to an end")


def main() -> None:
    address, folder = sys.argv[1:]

    def make() -> None:
        with open(os.path.join(folder, "made"), "w", encoding="utf-8") as file:
            file.write("made")

    with grpc.insecure_channel(address) as channel:
        stub = files_pb2_grpc.FileServiceStub(channel)
        first, token = watch(stub, "FILE_CHANGE_KIND_CREATED made", on_sync=make)
        os.rename(os.path.join(folder, "made"), os.path.join(folder, "moved"))
        second, _ = watch(stub, "sync", token)
        foreign = files_pb2.WatchFilesRequest(resume_token="x y")
        try:
            next(stub.WatchFiles(foreign))
            refused = "no"
        except grpc.RpcError as error:
            refused = error.code().name
        print(json.dumps({"first": first, "second": sorted(second), "refused": refused}))


main()
