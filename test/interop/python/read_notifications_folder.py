"""Reads a folder of notifications of Sluice by docs/formats/notifications.md alone: plain Python, no protobuf, none of Sluice's code.

    python3 read_notifications_folder.py DATA/notifications

Prints one JSON object per notification that a user sees, user by user, the oldest first; the last line counts the records. Ends
with 1 where a record does not prove itself. The checkpoint is not looked at: it says nothing that the journal does not say.
"""

import json
import os
import sys

from read_queue import numbers, one, read_fields  # the wire format, by hand
from struct import unpack_from
from zlib import crc32

PUBLISHED, DUE, STATE, REMOVED, TOUCHED, TOPICS, DEVICE, POLICY, DELETED, ITEM, USER, SERVER = range(1, 13)
FOREVER = float("inf")


def text(fields, number):
    return one(fields, number, b"").decode()


def texts(fields, number):
    return [each.decode() for each in fields.get(number, [])]


def message(fields, number):
    return read_fields(one(fields, number, b""))


def read_record(data, at, expected):
    """The kind of a record, its fields, and where it ends; None when it does not prove itself."""
    if at + 10 > len(data) or data[at] != 0:
        return None
    end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
    record = data[at + 5 : end]
    if end > len(data) or len(record) < 5 or record[-5] != 0x7D or crc32(record[:-5]) != unpack_from("<I", record, len(record) - 4)[0]:
        return None
    fields = read_fields(record)
    if one(fields, 13) != expected or one(fields, 14) != 1:
        return None
    kind = next(number for number in fields if number <= SERVER)
    return kind, read_fields(one(fields, kind)), end


class User:
    def __init__(self, place):
        self.since = place - 1
        self.own = {}  # by id
        self.states = {}  # by id, of what is shared
        self.topics = {}  # stretches by name
        self.marks = {flag: [0] * 8 for flag in ("seen", "read", "archived")}

    def sees(self, item):
        """Of what is shared."""
        if self.states.get(item["id"], {}).get("hidden"):
            return False
        stretches = [s for topic in item["topics"] for s in self.topics.get(topic, [])] if item["topics"] else [[self.since, FOREVER]]
        return any(since < item["sequence"] <= until for since, until in stretches)

    def state_of(self, item):
        marked = {flag: item["sequence"] <= mark[item["priority"]] for flag, mark in self.marks.items()}
        return self.states.setdefault(item["id"], {**marked, "hidden": False})


class Inboxes:
    def __init__(self):
        self.users, self.shared, self.delayed = {}, {}, {}

    def user(self, name, place):
        return self.users.setdefault(name, User(place))

    def apply(self, kind, fields, place):
        if kind in (DUE, STATE, REMOVED, TOUCHED, TOPICS, DEVICE, POLICY) and text(fields, 2 if kind == DUE else 3 if kind == REMOVED else 1):
            self.user(text(fields, 2 if kind == DUE else 3 if kind == REMOVED else 1), place)
        if kind == PUBLISHED:
            for name in texts(fields, 2):
                self.user(name, place)
            if one(fields, 7) > one(fields, 8):
                self.delayed[place] = fields
            else:
                self.deliver(fields, place, place)
        elif kind == DUE:
            self.become_due(fields, place)
        elif kind == STATE:
            self.set_state(self.users[text(fields, 1)], fields, place)
        elif kind == REMOVED:
            self.remove(fields)
        elif kind == TOPICS:
            self.change_topics(self.users[text(fields, 1)], fields, place)
        elif kind == DELETED:
            self.users.pop(text(fields, 1), None)
        elif kind == ITEM:
            self.carried_item(fields, place)
        elif kind == USER:
            self.carried_user(fields, place)

    def deliver(self, published, number, sequence):
        note = message(published, 1)
        item = {"id": number, "sequence": sequence, "priority": one(note, 6), "title": text(note, 3)}
        topics, everyone = texts(published, 3), one(published, 4)
        if everyone or topics:
            self.shared[number] = {**item, "topics": [] if everyone else topics}
        if everyone:
            return
        for name in texts(published, 2):
            user = self.user(name, sequence)
            user.own[number] = {**item, "seen": False, "read": False, "archived": False, "snoozed": False}
            if topics:
                user.state_of(self.shared[number])["hidden"] = True

    def become_due(self, fields, place):
        number, name = one(fields, 1), text(fields, 2)
        if not name:
            if number in self.delayed:
                self.deliver(self.delayed.pop(number), number, place)
        elif number in self.users[name].own:
            self.users[name].own[number].update(sequence=place, read=False, archived=False, snoozed=False)

    def set_state(self, user, fields, place):
        wish = {flag: bool(one(fields, number)) for flag, number in (("seen", 4), ("read", 5), ("archived", 6)) if number in fields}
        if wish.get("read") or wish.get("archived"):
            wish["seen"] = True
        snooze = one(fields, 7) > 0
        through = [min(each, place - 1) for each in numbers(fields, 3)]
        if through:
            for item in user.own.values():
                if item["sequence"] <= through[item["priority"]]:
                    item.update(wish)
            for number, state in user.states.items():
                item = self.shared.get(number)
                if item and item["sequence"] <= through[item["priority"]]:
                    state.update(wish)
            for flag in (flag for flag in wish if wish[flag]):
                user.marks[flag] = [max(pair) for pair in zip(user.marks[flag], through)]
            return
        for number in numbers(fields, 2):
            item = self.shared.get(number)
            if number in user.own:
                user.own[number].update(wish)
                if 7 in fields:
                    user.own[number]["snoozed"] = snooze
            elif item and user.sees(item):
                state = user.state_of(item)
                state.update(wish)
                if snooze:
                    own = {key: item[key] for key in ("id", "sequence", "priority", "title")}
                    user.own[number] = {**own, **{flag: state[flag] for flag in user.marks}, "snoozed": True}
                    state["hidden"] = True

    def remove(self, fields):
        name = text(fields, 3)
        for number in numbers(fields, 2):
            if not name:
                self.shared.pop(number, None)
            elif self.users[name].own.pop(number, None) is None and number in self.shared:
                self.users[name].state_of(self.shared[number])["hidden"] = True

    def change_topics(self, user, fields, place):
        for topic in texts(fields, 2):
            stretches = user.topics.setdefault(topic, [])
            if not stretches or stretches[-1][1] != FOREVER:
                stretches.append([place, FOREVER])
        for topic in texts(fields, 3):
            if user.topics.get(topic) and user.topics[topic][-1][1] == FOREVER:
                user.topics[topic][-1][1] = place

    def carried_item(self, fields, place):
        number, sequence, published = one(fields, 1), one(fields, 2), message(fields, 3)
        if not sequence:
            self.delayed.setdefault(number, published)
            return
        note = message(published, 1)
        item = {"id": number, "sequence": sequence, "priority": one(note, 6), "title": text(note, 3)}
        topics, everyone = texts(published, 3), one(published, 4)
        if everyone or topics:
            self.shared.setdefault(number, {**item, "topics": [] if everyone else topics})
        for holder in map(read_fields, fields.get(5, [])):
            user, state = self.user(text(holder, 1), place), message(holder, 2)
            flags = {flag: bool(one(state, i)) for i, flag in enumerate(("seen", "read", "archived"), 1)}
            if one(holder, 5):
                user.states.setdefault(number, {**flags, "hidden": bool(one(holder, 6))})
            else:
                own = {**item, "sequence": one(holder, 4) or sequence, **flags, "snoozed": one(state, 4) > 0}
                user.own.setdefault(number, own)

    def carried_user(self, fields, place):
        user = self.user(text(fields, 1), place)
        user.since, user.topics, user.states = one(fields, 2), {}, {}
        for member in map(read_fields, fields.get(3, [])):
            user.topics.setdefault(text(member, 1), []).append([one(member, 2), one(member, 3) or FOREVER])
        for flag, number in (("read", 6), ("seen", 7), ("archived", 8)):
            user.marks[flag] = numbers(fields, number) or [0] * 8
        for each in map(read_fields, fields.get(9, [])):
            state = message(each, 2)
            flags = {flag: bool(one(state, i)) for i, flag in enumerate(("seen", "read", "archived"), 1)}
            user.states[one(each, 1)] = {**flags, "hidden": bool(one(each, 4))}

    def inbox(self, name):
        """What a user sees, the oldest first."""
        user = self.users[name]
        items = list(user.own.values())
        for item in self.shared.values():
            if user.sees(item):
                marked = {flag: item["sequence"] <= mark[item["priority"]] for flag, mark in user.marks.items()}
                items.append({**item, **marked, **user.states.get(item["id"], {})})
        keys = ("id", "sequence", "priority", "title", "seen", "read", "archived")
        return [{"user": name, **{key: item[key] for key in keys}} for item in sorted(items, key=lambda each: each["sequence"])]


def read_folder(folder):
    line, checksum = open(os.path.join(folder, "EPOCHS"), "rb").read().split(b"\n")[:2]
    assert crc32(line) == int(checksum, 16), "damaged EPOCHS"
    assert len(json.loads(line)["epochs"]) == 1, "records are gone from the end"
    names = sorted(name for name in os.listdir(folder) if name.endswith(".frames"))
    inboxes, count, expected = Inboxes(), 0, int(names[0][:20])
    for name in names:
        assert int(name[:20]) == expected, f"records from {expected} on are gone"
        data, at = open(os.path.join(folder, name), "rb").read(), 0
        while at < len(data):
            record = read_record(data, at, expected)
            if record is None:
                assert name == names[-1], f"record {expected} in {name} does not prove itself"
                break
            kind, fields, at = record
            inboxes.apply(kind, fields, expected)
            expected, count = expected + 1, count + 1
    return inboxes, count


if __name__ == "__main__":
    found, records = read_folder(sys.argv[1])
    for name in sorted(found.users):
        for item in found.inbox(name):
            print(json.dumps(item, ensure_ascii=False))
    print(json.dumps({"records": records}))
