"""Reads the history of metrics of Sluice by docs/formats/metrics.md alone: plain Python, no protobuf, none of Sluice's code.

    python3 read_metrics.py DATA/metrics

Prints one JSON object per point, by name and time. Ends with 1 where a record does not prove itself. What is compressed with
Zstandard needs `compression.zstd` (Python 3.14), the module `zstandard`, or the program `zstd`.
"""

import json
import os
import subprocess
import sys
import zlib
from struct import pack, unpack, unpack_from

POINTS, BEGUN, CHUNKS, TICKS, SERIES, DONE = range(1, 7)
STALE = 0x7FF0000000000002
FACTORS = [1, 100, 1000, 1_000_000]


def decompress(data):
    try:
        from compression import zstd

        return zstd.decompress(data)
    except ImportError:
        pass
    try:
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except ImportError:
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read_fields(message):
    """Field number to all of its values, in order: varints as numbers, all else as bytes."""
    fields, at = {}, 0
    while at < len(message):
        tag, at = read_varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = read_varint(message, at)
        else:
            length, at = (8, at) if kind == 1 else (4, at) if kind == 5 else read_varint(message, at)
            value, at = message[at : at + length], at + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def one(fields, number, default=0):
    return fields.get(number, [default])[-1]


def int64s(fields, number):
    packed = b"".join(fields.get(number, []))
    return list(unpack(f"<{len(packed) // 8}q", packed))


def varints(fields, number):
    packed, at, found = b"".join(fields.get(number, [])), 0, []
    while at < len(packed):
        value, at = read_varint(packed, at)
        found.append(value)
    return found


def records(folder):
    """Sequence, kind and fields of every record of a log."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(".frames"))
    for name in names:
        data, at, sequence = open(os.path.join(folder, name), "rb").read(), 0, int(name[:20])
        while at < len(data):
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            message = data[at + 5 : end]
            good = data[at] == 0 and end <= len(data) and len(message) >= 19 and message[-5] == 0x7D
            if not good or zlib.crc32(message[:-5]) != unpack_from("<I", message, len(message) - 4)[0]:
                assert name == names[-1], f"record {sequence} in {name} does not prove itself"
                break
            fields = read_fields(message)
            assert unpack("<Q", one(fields, 13))[0] == sequence, f"record {sequence} in {name} is another one"
            kind = next((number for number in fields if number <= DONE), None)
            yield sequence, kind, read_fields(one(fields, kind))
            at, sequence = end, sequence + 1


class Bits:
    def __init__(self, data):
        self.number, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count):
        self.left -= count
        return (self.number >> self.left) & ((1 << count) - 1)


def compressed_points(body, count, tick):
    """Ticks and the 64 bits of the values."""
    bits, delta, leading, trailing = Bits(body), 0, 0, 0
    value = bits.take(64)
    yield tick, value
    for _ in range(count - 1):
        if bits.take(1):
            if not bits.take(1):
                delta += bits.take(3) - 3
            elif not bits.take(1):
                delta += bits.take(5) - 15
            elif not bits.take(1):
                delta += bits.take(9) - 255
            else:
                delta += unpack(">q", pack(">Q", bits.take(64)))[0]
        tick += delta
        if bits.take(1):
            if bits.take(1):
                leading = bits.take(5)
                trailing = 63 - leading - bits.take(6)
            value ^= bits.take(64 - leading - trailing) << trailing
        yield tick, value


def whole_point(body):
    flags, value, start = unpack_from("<BQq", body, 0)
    at = 25 if flags & 1 else 17
    number = unpack_from("<q", body, 17)[0] if flags & 1 else None
    return {"bits": value, "start": start, "int": number, "shape": body[at:].decode() or None, "stale": bool(flags & 2)}


def plain_point(bits, start, is_int):
    if bits == STALE:
        return {"bits": bits, "start": start, "int": None, "shape": None, "stale": True}
    value = unpack(">d", pack(">Q", bits))[0]
    return {"bits": bits, "start": start, "int": int(value) if is_int else None, "shape": None, "stale": False}


def chunks_of(stretch):
    """Series, first and last tick, and the points of each chunk of a stretch."""
    at = 0
    while at < len(stretch):
        length, series, count, kind, flags = unpack_from("<IIHBB", stretch, at)
        first, last = (int.from_bytes(stretch[at + n : at + n + 6], "little") for n in (18, 24))
        at += 30
        start = 0
        if kind == 0 and flags & 2:
            start, at = unpack_from("<q", stretch, at)[0], at + 8
        elif kind != 0:
            at += 16
        body, at, points = stretch[at : at + length], at + length, []
        if kind == 0:
            factor = FACTORS[flags >> 2]
            for tick, bits in compressed_points(body, count, first):
                if factor != 1 and bits != STALE:
                    bits = unpack(">Q", pack(">d", unpack(">d", pack(">Q", bits))[0] / factor))[0]
                points.append((tick, plain_point(bits, start, flags & 1)))
        else:
            plain, place = decompress(body) if kind == 2 else body, 0
            while place < len(plain):
                tick, size = int.from_bytes(plain[place : place + 6], "little"), unpack_from("<I", plain, place + 6)[0]
                points.append((tick, whole_point(plain[place + 10 : place + 10 + size])))
                place += 10 + size
        yield series, last, points


def told_points(fields):
    """Series, place of the tick in the record, and the point."""
    data, starts, at = one(fields, 4, b""), int64s(fields, 5), 0
    place = series = start = 0
    while at < len(data):
        code, at = read_varint(data, at)
        if code == 0:
            value, at = read_varint(data, at)
            if value % 2 == 0:
                place = value // 2
            else:
                start = starts[value // 2]
            continue
        zigzag = code >> 2
        series += (zigzag >> 1) ^ -(zigzag & 1)
        if code % 4 == 3:
            length, at = read_varint(data, at)
            yield series, place, whole_point(data[at : at + length])
            at += length
        else:
            yield series, place, plain_point(unpack_from("<Q", data, at)[0], start, code % 4 == 2)
            at += 8


def read_history(folder):
    described, times, sealed, points, pending, after = {}, {}, {}, [], [], 0

    def describe(definition):
        fields = read_fields(definition)
        described[one(fields, 1)] = (one(fields, 3).decode(), [text.decode() for text in fields.get(7, [])])

    for _, kind, fields in records(os.path.join(folder, "chunks")):
        if kind == BEGUN:
            pending = []
        elif kind != DONE:
            pending.append((kind, fields))
        else:
            after = one(fields, 1)
            for each, of in sorted(pending, key=lambda pair: {SERIES: 0, TICKS: 1, CHUNKS: 2}[pair[0]]):
                if each == SERIES:
                    for definition in read_fields(decompress(one(of, 1))).get(1, []):
                        describe(definition)
                elif each == TICKS:
                    for place, timestamp in enumerate(int64s(of, 2)):
                        times[one(of, 1) + place] = timestamp
                else:
                    for series, last, found in chunks_of(one(of, 3)):
                        sealed[series] = max(sealed.get(series, -1), last)
                        points += [(series, tick, point) for tick, point in found]
    for sequence, kind, fields in records(os.path.join(folder, "points")):
        if kind != POINTS or sequence <= after:
            continue
        for definition in fields.get(1, []):
            describe(definition)
        first = one(fields, 2)
        for place, timestamp in enumerate(int64s(fields, 3)):
            times[first + place] = timestamp
        points += [(s, first + p, point) for s, p, point in told_points(fields) if first + p > sealed.get(s, -1)]
    return [(*described[series], times[tick], point) for series, tick, point in points]


if __name__ == "__main__":
    for name, labels, timestamp, point in sorted(read_history(sys.argv[1]), key=lambda each: (each[0], each[2])):
        stale = point["stale"]
        shown = {
            "name": name,
            "labels": labels,
            "timestamp": str(timestamp),
            "start": "0" if stale else str(point["start"]),
            "value": "" if stale else f"{point['bits']:016x}",
            "int": None if stale or point["int"] is None else str(point["int"]),
            "shape": point["shape"],
            "stale": stale,
        }
        print(json.dumps(shown, ensure_ascii=False))
