"""Uploads a file with Python's grpcio: upload.py ADDRESS PATH FILE STOP_AT

Sends up to STOP_AT, asks how far the server is, goes on there, commits. Prints what the server said, as JSON.
"""

import hashlib
import json
import sys
import zlib

import grpc
from sluice.files.v1 import files_pb2, files_pb2_grpc

CHUNK_BYTES = 64 * 1024

address, path, name, stop_at = sys.argv[1:5]
with open(name, "rb") as file:
    content = file.read()


def chunks(upload_id, start, end):
    yield files_pb2.UploadFileRequest(upload_id=upload_id)
    for offset in range(start, end, CHUNK_BYTES):
        data = content[offset : min(end, offset + CHUNK_BYTES)]
        yield files_pb2.UploadFileRequest(offset=offset, data=data, chunk_crc32=zlib.crc32(data))


with grpc.insecure_channel(address) as channel:
    files = files_pb2_grpc.FileServiceStub(channel)
    sha256 = hashlib.sha256(content).hexdigest()
    request = files_pb2.StartUploadRequest(file_path=path, size=len(content), checksum=sha256)
    upload_id = files.StartUpload(request).upload.upload_id
    first = [answer.durable_offset for answer in files.UploadFile(chunks(upload_id, 0, int(stop_at)))]
    durable = files.GetUpload(files_pb2.GetUploadRequest(upload_id=upload_id)).upload.durable_offset
    second = [answer.durable_offset for answer in files.UploadFile(chunks(upload_id, durable, len(content)))]
    *_, last = files.CommitUpload(files_pb2.CommitUploadRequest(upload_id=upload_id))
    print(json.dumps({"offsets": first + second, "resumedAt": durable, "checksum": last.file.checksum}))
