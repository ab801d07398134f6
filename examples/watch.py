"""Prints each device's figures as they come.

KOBEL_TOKEN=kobel_... python watch.py http://127.0.0.1:8000
"""

import os
import sys

import socketio

client = socketio.Client()


@client.event
def connect():
    client.emit("subscribe", {"type": "dashboard", "options": {"rate": 1}})


@client.on("initialData")
def initial_data(message):
    if message["type"] == "dashboard":
        for device in message["data"]["devices"]:
            asked = {"type": "device", "id": device["deviceUuid"], "options": {"rate": 1}}
            client.emit("subscribe", asked)


@client.on("stats")
def stats(message):
    data = message["data"]
    cpu, memory = data.get("cpu", float("nan")), data.get("memory", float("nan"))
    print(f"{data['deviceUuid']}  cpu {cpu:.1f} %  memory {memory:.1f} %")


@client.on("error")
def error(message):
    print(f"{message['code']}: {message['message']}", file=sys.stderr)


url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
client.connect(url, auth={"token": os.environ["KOBEL_TOKEN"]})
client.wait()
