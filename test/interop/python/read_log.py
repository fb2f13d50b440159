"""Reads a log folder of Sluice by docs/formats/log.md alone: plain Python, no protobuf, none of Sluice's code.

    python3 read_log.py DATA/logs/default

Prints one JSON object per entry, in order: sequence, epoch, timestamp, application, message; and {"gap": [first, last]}.
Compressed segments need `compression.zstd` (Python 3.14), the module `zstandard`, or the program `zstd`.
"""

import base64
import json
import os
import subprocess
import sys
import zlib
from struct import unpack_from


def decompress(group, length):
    try:
        from compression import zstd  # Python 3.14

        return zstd.decompress(group)
    except ImportError:
        pass
    try:
        import zstandard

        return zstandard.ZstdDecompressor().decompress(group, max_output_size=length)
    except ImportError:
        return subprocess.run(["zstd", "-dcq"], input=group, stdout=subprocess.PIPE, check=True).stdout


def read_compressed(data):
    """The plain frames; zeros stand for a group that does not decompress, so that its entries come out as damaged."""
    rows, descriptor, magic = unpack_from("<IBI", data, len(data) - 9)
    table = len(data) - 9 - 8 * rows - 8
    facts = table - 56
    content = data[facts + 8 : table]
    assert magic == 0x8F92EAB1 and descriptor == 0 and content[:8] == b"sluicezs", "no seek table"
    assert unpack_from("<II", content, 40) == (zlib.crc32(data[table:]), zlib.crc32(content[:44])), "damaged seek table"
    plain, at = [], 0
    for row in range(rows - 1):
        stored, length = unpack_from("<II", data, table + 8 + 8 * row)
        try:
            frames = decompress(data[at : at + stored], length)
        except Exception:
            frames = b""
        plain.append(frames if len(frames) == length else bytes(length))
        at += stored
    return b"".join(plain)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read_fields(message):
    """Field number to its last value. Only what is needed of protobuf: varints, fixed numbers, bytes."""
    fields, at = {}, 0
    while at < len(message):
        tag, at = read_varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(message, at)
        else:
            length, at = (8, at) if kind == 1 else (4, at) if kind == 5 else read_varint(message, at)
            value, at = message[at : at + length], at + length
        fields[tag >> 3] = value
    return fields


def read_entry(data, at, epochs):
    """The entry whose frame begins at `at` and where it ends, or None when it does not prove itself."""
    if at + 10 > len(data) or data[at] != 0:
        return None
    end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
    message = data[at + 5 : end]
    if end > len(data) or len(message) < 5 or message[-5] != 0x7D or zlib.crc32(message[:-5]) != unpack_from("<I", message, len(message) - 4)[0]:
        return None
    fields = read_fields(message)
    sequence, epoch = fields[8], int.from_bytes(base64.urlsafe_b64decode(fields[9] + b"==")[2:4], "big")
    if epoch != [each for each, first in epochs if first <= sequence][-1]:
        return None
    text = lambda number: fields.get(number, b"").decode()
    return {"sequence": sequence, "epoch": epoch, "timestamp": fields.get(1, 0), "application": text(3), "message": text(4)}, end


def read_segment(data, first, epochs):
    """Entries and gaps, from the first sequence on."""
    at, expected = 0, first
    while at < len(data):
        found, start = read_entry(data, at, epochs), at
        while start < len(data) and (found is None or found[0]["sequence"] < expected):
            start += 1
            found = read_entry(data, start, epochs)
        if found is None:
            return
        entry, at = found
        if entry["sequence"] > expected:
            yield {"gap": [expected, entry["sequence"] - 1]}
        yield entry
        expected = entry["sequence"] + 1


def read_log(folder):
    line, checksum = open(os.path.join(folder, "EPOCHS"), "rb").read().split(b"\n")[:2]
    assert zlib.crc32(line) == int(checksum, 16), "damaged EPOCHS"
    epochs, names = json.loads(line)["epochs"], os.listdir(folder)
    segments = {int(name[:20]): name for name in names if name.endswith(".frames.zst")}
    segments.update({int(name[:20]): name for name in names if name.endswith(".frames")})
    expected = min(segments, default=1)
    for first in sorted(segments):
        data = open(os.path.join(folder, segments[first]), "rb").read()
        for each in read_segment(read_compressed(data) if segments[first].endswith(".zst") else data, first, epochs):
            start, last = each["gap"] if "gap" in each else (each["sequence"], each["sequence"])
            if start > expected:
                yield {"gap": [expected, start - 1]}
            yield each
            expected = last + 1


for each in read_log(sys.argv[1]):
    print(json.dumps(each))
