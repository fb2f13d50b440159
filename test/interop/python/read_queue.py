"""Reads a queue's folder of Sluice by docs/formats/queue.md alone: plain Python, no protobuf, none of Sluice's code.

    python3 read_queue.py DATA/queues/tax

Prints one JSON object per job that is there, by number; the last line counts the records. Ends with 1 where a record does not
prove itself.
"""

import json
import os
import sys
import zlib
from struct import unpack_from

ADDED, STARTED, ENDED, RETURNED, FAILED, REDRIVEN, QUEUE, DEDUP = range(1, 9)
WAITING, RUNNING, DEAD = 1, 3, 5
STATES = {WAITING: "waiting", RUNNING: "running", DEAD: "dead"}


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read_fields(message):
    """Field number to all of its values, in order. Only what is needed of protobuf: varints, fixed numbers, bytes."""
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


def numbers(fields, number):
    """A repeated field of numbers, which is packed."""
    packed, at, found = b"".join(fields.get(number, [])), 0, []
    while at < len(packed):
        value, at = read_varint(packed, at)
        found.append(value)
    return found


def read_record(data, at, expected):
    """The kind of a record, its fields, and where it ends; None when it does not prove itself."""
    if at + 10 > len(data) or data[at] != 0:
        return None
    end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
    message = data[at + 5 : end]
    if end > len(data) or len(message) < 5 or message[-5] != 0x7D or zlib.crc32(message[:-5]) != unpack_from("<I", message, len(message) - 4)[0]:
        return None
    fields = read_fields(message)
    if one(fields, 13) != expected or one(fields, 14) != 1:
        return None
    kind = next(number for number in fields if number <= DEDUP)
    return kind, read_fields(one(fields, kind)), end


def apply(jobs, kind, fields):
    """What one record changes."""
    if kind == ADDED:
        number, job, state = one(fields, 1), read_fields(one(fields, 2, b"")), read_fields(one(fields, 3, b""))
        fresh = {"job": job, "state": one(state, 1, WAITING), "failures": one(state, 2), "attempt": one(state, 4)}
        jobs.setdefault(number, fresh)
    elif kind == STARTED:
        for number, attempt in zip(numbers(fields, 1), numbers(fields, 2)):
            if number in jobs:
                jobs[number].update(state=RUNNING, attempt=attempt)
    elif kind == ENDED:
        for number in numbers(fields, 1):
            jobs.pop(number, None)
    elif kind == RETURNED and one(fields, 1) in jobs:
        jobs[one(fields, 1)].update(state=WAITING, attempt=0)
    elif kind == FAILED and one(fields, 1) in jobs:
        job = jobs[one(fields, 1)]
        job.update(state=DEAD if one(fields, 4) else WAITING, attempt=0, failures=job["failures"] + (0 if one(fields, 5) else 1))
    elif kind == REDRIVEN:
        for number in numbers(fields, 1):
            if number in jobs:
                jobs[number].update(state=WAITING, failures=0)


def read_queue(folder):
    line, checksum = open(os.path.join(folder, "EPOCHS"), "rb").read().split(b"\n")[:2]
    assert zlib.crc32(line) == int(checksum, 16), "damaged EPOCHS"
    assert len(json.loads(line)["epochs"]) == 1, "records are gone from the end"
    names = sorted(name for name in os.listdir(folder) if name.endswith(".frames"))
    jobs, count, expected = {}, 0, int(names[0][:20])
    for name in names:
        assert int(name[:20]) == expected, f"records from {expected} on are gone"
        data, at = open(os.path.join(folder, name), "rb").read(), 0
        while at < len(data):
            record = read_record(data, at, expected)
            if record is None:
                assert name == names[-1], f"record {expected} in {name} does not prove itself"
                break
            kind, fields, at = record
            apply(jobs, kind, fields)
            expected, count = expected + 1, count + 1
    return jobs, count


if __name__ == "__main__":
    there, records = read_queue(sys.argv[1])
    for number, found in sorted(there.items()):
        job = found.pop("job")
        found.update(number=number, state=STATES[found["state"]], id=one(job, 1, b"").decode(), body=one(job, 10, b"").decode())
        print(json.dumps(found, ensure_ascii=False))
    print(json.dumps({"records": records}))
