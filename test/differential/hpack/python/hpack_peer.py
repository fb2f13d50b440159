"""Encodes or decodes HPACK stories with Python's hpack.

Usage: hpack_peer.py encode|decode, a JSON array of stories on stdin, the completed stories on stdout. A story is of the
format of http2jp's hpack-test-case, with "never_indexed" (the places of such headers) besides. Strings have one character
below U+0100 for each byte.
"""

import json
import sys

import hpack


def encode(story):
    encoder = hpack.Encoder()
    for case in story["cases"]:
        if "header_table_size" in case:
            encoder.header_table_size = case["header_table_size"]
        sensitive = set(case.get("never_indexed", []))
        headers = [
            (name.encode("latin-1"), value.encode("latin-1"), place in sensitive)
            for place, header in enumerate(case["headers"])
            for name, value in header.items()
        ]
        # With and without Huffman code, in turns.
        case["wire"] = encoder.encode(headers, huffman=case["seqno"] % 4 != 3).hex()
    story["description"] = "Encoded by Python's hpack."


def decode(story):
    decoder = hpack.Decoder(max_header_list_size=1 << 24)
    for case in story["cases"]:
        if "header_table_size" in case:
            decoder.max_allowed_table_size = case["header_table_size"]
        fields = decoder.decode(bytes.fromhex(case["wire"]), raw=True)
        case["headers"] = [{name.decode("latin-1"): value.decode("latin-1")} for name, value in fields]
        case["never_indexed"] = [
            place for place, field in enumerate(fields) if isinstance(field, hpack.NeverIndexedHeaderTuple)
        ]


def main():
    work = {"encode": encode, "decode": decode}[sys.argv[1]]
    stories = json.load(sys.stdin)
    for story in stories:
        work(story)
    json.dump(stories, sys.stdout)


main()
