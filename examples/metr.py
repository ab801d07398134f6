"""Reads METR, the binary form of Kobel's event `metrics`: versions 1 and 2. Needs Python 3.9.

As a module: decode_v1(bytes) and Reader().apply(bytes).
As a program, it prints the devices' figures as they come:

KOBEL_TOKEN=kobel_... python metr.py http://127.0.0.1:8000
"""

import struct
import time

STATES = ["online", "slow", "stale", "unreachable", "auth-failed", "host-key-changed"]
NAMES = ["cpu", "memory", "disk", "temperature", "networkIn", "networkOut"]
LEAST = [0, 0, 0, -32767, 0, 0]
GREATEST = [65534, 65534, 65534, 32767, 7423, 7423]
HEADER = 28
AGE_MAX = 2**32 - 1


class MetrError(ValueError):
    """The bytes are not METR; `code` says which rule they break."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class NeedsKeyFrame(MetrError):
    """A delta whose key frame did not come: wait for the next key frame."""

    def __init__(self, needs, has):
        super().__init__("NeedsKeyFrame", f"the delta is against {needs}, the reader has {has}")


def decode_v1(data, now_ms=None):
    """The time of a frame of version 1, in ms, and its records."""
    if len(data) >= 4 and data[:4] != b"RTEM":
        raise MetrError("BadMagic", f"version 1 does not begin with {data[:4]!r}")
    if len(data) < 12:
        raise MetrError("TooShort", f"{len(data)} bytes, the header alone has 12")
    count, low = struct.unpack_from("<II", data, 4)
    if len(data) != 12 + 20 * count:
        raise MetrError("LengthMismatch", f"{count} records, and {len(data)} bytes")
    now = int(time.time() * 1000) if now_ms is None else now_ms
    # The nearest instant to the reader's clock with these low 32 bits.
    timestamp = now + (low - now + 2**31) % 2**32 - 2**31
    records = []
    for id, *percents, temperature, network_in in struct.iter_unpack("<QHHHhI", data[12:]):
        record = {"id": id, "networkIn": network_in}
        for name, value in zip(NAMES, percents):
            if value != 0xFFFF:
                record[name] = value / 100
        if temperature != -32768:
            record["temperature"] = temperature / 10
        records.append(record)
    return timestamp, records


class Bits:
    """Takes bits off bytes, lowest first."""

    def __init__(self, data, start):
        self.value = int.from_bytes(data[start:], "little")
        self.left = 8 * (len(data) - start)

    def take(self, count):
        if count > self.left:
            raise MetrError("Truncated", "the bytes end within a record")
        taken = self.value & ((1 << count) - 1)
        self.value >>= count
        self.left -= count
        return taken

    def rice(self, parameter):
        ones = 0
        while ones < 16 and self.take(1):
            ones += 1
        if ones == 16:
            return self.take(self.take(6) + 1)
        return ones << parameter | self.take(parameter)

    def difference(self, parameter):
        number = self.rice(parameter)
        return (number >> 1) ^ -(number & 1)


class Reader:
    """Reads a stream of version 2, one frame after another."""

    def __init__(self, max_devices=100_000):
        self.max_devices = max_devices
        self.key = None  # the number of the key frame
        self.rows = []  # its rows: what deltas are added to

    def apply(self, data):
        """The frame's time in ms, whether it is a key frame, and its records."""
        if len(data) >= 4 and data[:4] != b"METR":
            raise MetrError("BadMagic", f"version 2 does not begin with {data[:4]!r}")
        if len(data) > 4 and data[4] != 2:
            raise MetrError("UnsupportedVersion", f"version {data[4]}")
        if len(data) < HEADER:
            raise MetrError("TooShort", f"{len(data)} bytes, the header alone has {HEADER}")
        flags, later, timestamp, key, count, *packed = struct.unpack_from("<xxxxxBHqII4B", data)
        if flags & ~1 or later:
            raise MetrError("UnsupportedFlags", f"flags {flags}, {later}")
        if not -62_167_219_200_000 <= timestamp <= 253_402_300_799_999:
            raise MetrError("BadTimestamp", f"{timestamp} ms")
        # Three bits is the shortest record.
        if HEADER + (3 * count + 7) // 8 > len(data):
            raise MetrError("LengthMismatch", f"{count} records, and {len(data)} bytes")
        if count > self.max_devices:
            raise MetrError("TooManyRecords", f"{count} records")
        is_key = not flags & 1
        if not is_key and key != self.key:
            raise NeedsKeyFrame(key, self.key)

        parameters = [nibble for byte in packed for nibble in (byte & 15, byte >> 4)]
        bits = Bits(data, HEADER)
        rows = []
        place = -1
        base = (0, 0, 0, 0b111111, [0] * 6)
        for _ in range(count):
            place += bits.rice(parameters[0]) + 1
            if is_key:
                id = place
                if id >= 2**64:
                    raise MetrError("OutOfRange", "id")
            else:
                if place >= len(self.rows):
                    raise MetrError("OutOfRange", "place in the key frame")
                base = self.rows[place]
                id = base[0]
            row = self._row(bits, parameters, id, base)
            rows.append(row)
            base = row
        if bits.left >= 8 or bits.value:
            raise MetrError("TrailingBytes", f"{bits.left} bits")
        if is_key:
            self.key, self.rows = key, rows
        return timestamp, is_key, [self._record(row, timestamp) for row in rows]

    @staticmethod
    def _row(bits, parameters, id, base):
        _, age, state, present, values = base
        if bits.take(1):
            state, present = bits.take(3), bits.take(6)
            if state >= len(STATES):
                raise MetrError("OutOfRange", "state")
        age += bits.difference(parameters[1])
        if not 0 <= age <= AGE_MAX:
            raise MetrError("OutOfRange", "age")
        values = list(values)
        for field, name in enumerate(NAMES):
            if present >> field & 1:
                values[field] += bits.difference(parameters[2 + field])
                if not LEAST[field] <= values[field] <= GREATEST[field]:
                    raise MetrError("OutOfRange", name)
        return id, age, state, present, values

    @staticmethod
    def _record(row, timestamp):
        id, age, state, present, values = row
        sampled_at = (timestamp // 10 - age) * 10
        record = {"id": id, "state": STATES[state], "sampledAt": sampled_at}
        for field, name in enumerate(NAMES):
            if present >> field & 1:
                record[name] = value_of(field, values[field])
        return record


def value_of(field, number):
    """What a whole number of field `field` means."""
    if field < 3:
        return number / 100
    if field == 3:
        return number / 10
    if number < 128:
        return number
    return (128 + number % 128) << ((number >> 7) - 1)


def check(folder, document):
    """Reads the vectors of the tests, and lets the document's short readers do so, too."""
    import json
    import pathlib
    import re

    shorts = {}
    for block in re.findall(r"```python\n(.*?)```", pathlib.Path(document).read_text(), re.S):
        exec(block, shorts)
    read_v1, read_key = shorts["read_v1"], shorts["read_key"]

    def same(read, expected):
        assert len(read) == len(expected), (read, expected)
        for one, other in zip(read, expected):
            one = {name: value for name, value in one.items() if value is not None}
            assert one.keys() == other.keys(), (one, other)
            for name, value in other.items():
                assert one[name] == value or abs(one[name] - value) < 1e-9 * abs(value), (one, other)

    for case in json.loads(pathlib.Path(folder, "metr-v1.json").read_text()):
        data = bytes.fromhex(case["hex"])
        try:
            timestamp, records = decode_v1(data, case["now"])
        except MetrError as error:
            assert error.code == case.get("error"), (case["name"], error)
            continue
        assert timestamp == case.get("timestamp"), case["name"]
        same(records, case["records"])
        same(read_v1(data), case["records"])

    for stream in json.loads(pathlib.Path(folder, "metr-v2.json").read_text()):
        reader = Reader()
        for number, frame in enumerate(stream["frames"]):
            where = (stream["name"], number)
            data = bytes.fromhex(frame["hex"])
            try:
                timestamp, is_key, records = reader.apply(data)
            except MetrError as error:
                assert error.code == frame.get("error"), (where, error)
                continue
            assert (timestamp, is_key) == (frame.get("timestamp"), frame.get("isKey")), where
            same(records, frame["records"])
            if is_key:
                same(read_key(data), frame["records"])


def watch(url):
    """Prints the figures of the fleet as they come."""
    import os
    import sys

    import socketio

    client = socketio.Client()
    reader = Reader()

    @client.event
    def connect():
        reader.__init__()  # what came before the connection broke says nothing of what comes now
        options = {"format": "metr", "version": 2}
        client.emit("subscribe", {"type": "fleet", "options": options})

    @client.on("metrics")
    def metrics(data, *_):
        try:
            _, is_key, records = reader.apply(data)
        except NeedsKeyFrame:
            return  # at most 30 s until the next
        for record in records:
            figures = "  ".join(f"{name} {record[name]:g}" for name in NAMES if name in record)
            print(f"{record['id']:6}  {record['state']}  {figures}")

    @client.on("error")
    def error(message):
        print(f"{message['code']}: {message['message']}", file=sys.stderr)

    client.connect(url, auth={"token": os.environ["KOBEL_TOKEN"]})
    client.wait()


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Reads METR from a hub, or checks this reader.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--check", metavar="FOLDER", help="read test vectors in place of a hub")
    parser.add_argument("--document", metavar="FILE", help="docs/metr.md, for --check")
    args = parser.parse_args()
    if args.check:
        check(args.check, args.document)
    else:
        watch(args.url)
