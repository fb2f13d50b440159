"""Downloads a file as any program in Python would, chunk by chunk, and says what came as one line of JSON.

download.py ADDRESS PATH OFFSET LIMIT CHUNK_SIZE
"""

import hashlib
import json
import sys
import zlib

import grpc
import seed_pb2_grpc
from sluice.files.v1 import files_pb2


def main() -> None:
    address, path, offset, limit, chunk_size = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        request = files_pb2.FileRequest(
            file_path=path,
            offset=int(offset),
            limit=int(limit),
            chunk_size=int(chunk_size),
            chunk_checksums=True,
        )
        digest = hashlib.sha256()
        chunks = []
        for chunk in seed_pb2_grpc.FileServiceStub(channel).DownloadFile(request):
            digest.update(chunk.data)
            chunks.append(
                {
                    "offset": chunk.offset,
                    "length": len(chunk.data),
                    "isRight": zlib.crc32(chunk.data) == chunk.chunk_crc32,
                    "isLast": chunk.is_last_chunk,
                }
            )
        print(json.dumps({"chunks": chunks, "sha256": digest.hexdigest(), "checksum": chunk.checksum}))


main()
