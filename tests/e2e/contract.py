"""The live contract through python-socketio: URL TOKEN TRANSPORTS."""

import sys
import threading

import socketio


def main(url, token, transports):
    client = socketio.Client(reconnection=False)
    stats, initial = [], {}
    enough = threading.Event()

    @client.on("initialData")
    def on_initial(data):
        initial[data["type"]] = data

    @client.on("stats")
    def on_stats(envelope):
        stats.append(envelope)
        if len(stats) == 3:
            enough.set()

    client.connect(url, auth={"token": token}, transports=transports.split(","), wait_timeout=10)
    answer = client.call("subscribe", {"type": "dashboard"}, timeout=5)
    assert answer["ok"], answer
    client.sleep(0.2)
    uuid = initial["dashboard"]["data"]["devices"][0]["deviceUuid"]
    answer = client.call("subscribe", {"type": "device", "id": uuid}, timeout=5)
    assert answer == {
        "ok": True,
        "room": f"device:{uuid}",
        "epoch": answer["epoch"],
        "seq": answer["seq"],
    }, answer
    assert enough.wait(10), f"{len(stats)} samples in 10 s"
    seqs = [envelope["seq"] for envelope in stats]
    assert seqs == sorted(set(seqs)), seqs
    assert all(0 <= envelope["data"]["memory"] <= 100 for envelope in stats)
    answer = client.call("subscribe", {"type": "device", "id": "no"}, timeout=5)
    assert answer["error"]["code"] == "BAD_REQUEST", answer
    print("ok", client.transport(), seqs)
    client.disconnect()


main(*sys.argv[1:])
