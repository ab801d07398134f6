"""Each format of `metrics` through python-socketio, against JSON: URL TOKEN."""

import sys
import time

import metr
import socketio
from kobel.v1 import metrics_pb2

NAMES = ["cpu", "memory", "disk", "temperature", "networkIn"]


def protobuf(data):
    message = metrics_pb2.Metrics.FromString(data)
    (device,) = message.devices
    fields = {"networkIn": "network_in"}
    read = {}
    for name in NAMES:
        field = fields.get(name, name)
        if device.HasField(field):
            read[name] = getattr(device, field)
    return read


def v1(data):
    _, (record,) = metr.decode_v1(data)
    return record


def v2(data):
    _, is_key, (record,) = metr.Reader().apply(data)
    assert is_key, "each frame of a device stands alone"
    return record


FORMATS = {
    "protobuf": ({"format": "protobuf"}, protobuf),
    "v1": ({"format": "metr"}, v1),
    "v2": ({"format": "metr", "version": 2}, v2),
}


def subscribe(url, token, read, uuid, options):
    client = socketio.Client(reconnection=False)
    frames = {}

    @client.on("metrics")
    def on_metrics(data, about):
        frames[about["seq"]] = read(data)

    @client.on("stats")
    def on_stats(envelope):
        frames[envelope["seq"]] = envelope["data"]

    client.connect(url, auth={"token": token}, transports=["websocket"], wait_timeout=10)
    asked = {"type": "device", "id": uuid, "options": options}
    answer = client.call("subscribe", asked, timeout=5)
    assert answer["ok"], answer
    return client, frames


def first_device(url, token):
    client = socketio.Client(reconnection=False)
    first = []
    client.on("initialData", first.append)
    client.connect(url, auth={"token": token}, transports=["websocket"], wait_timeout=10)
    client.call("subscribe", {"type": "dashboard"}, timeout=5)
    while not first:
        client.sleep(0.05)
    client.disconnect()
    return first[0]["data"]["devices"][0]["deviceUuid"]


def agree(name, read, sample):
    for field in NAMES:
        expected = sample.get(field)
        if expected is None:
            assert field not in read or (name == "v1" and field == "networkIn"), (name, field, read)
            continue
        may = {"temperature": 0.051, "networkIn": max(0.51, expected * 0.005)}.get(field, 0.0051)
        assert abs(read[field] - expected) <= may, (name, field, expected, read[field])


def main(url, token):
    uuid = first_device(url, token)
    client, stats = subscribe(url, token, None, uuid, {})
    clients, compared = [client], 0
    frames = {}
    for name, (options, read) in FORMATS.items():
        client, frames[name] = subscribe(url, token, read, uuid, options)
        clients.append(client)
    time.sleep(4.5)
    for client in clients:
        client.disconnect()
    for name, read in frames.items():
        both = read.keys() & stats.keys()
        assert len(both) >= 3, (name, sorted(read), sorted(stats))
        for seq in both:
            agree(name, read[seq], stats[seq])
            compared += 1
    print(f"ok {compared} frames agree")


main(*sys.argv[1:])
