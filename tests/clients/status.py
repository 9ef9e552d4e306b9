#!/usr/bin/python3
"""The status socket as people's Python publishers and dashboards use it, for the end-to-end tests.

usage: status.py publish URL [--rate N] [--count N] [--bare]
       status.py watch URL
       status.py hex

`publish` sends a CameraStatus for each picture, as the publishers of old do, and prints what it is told: texts as they are, binary messages
as {"command": {...}}. With --bare it says no more than that the camera is connected. `watch` prints what a dashboard is told. `hex` prints
the bytes of a message with every field set. The messages are made by Google's library from docs/reference/camera.proto.
"""

import argparse
import asyncio
import json
import pathlib
import re
import sys

import websockets
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict

TYPES = {"bool": 8, "float": 2, "int32": 5, "int64": 3, "string": 9}


def messages():
    """The two message classes of the .proto file; a compiler for such files need not be installed."""
    text = (pathlib.Path(__file__).parents[2] / "docs/reference/camera.proto").read_text()
    text = re.sub(r"//.*", "", text)
    file = descriptor_pb2.FileDescriptorProto(name="camera.proto", package="tutorial", syntax="proto3")
    for name, body in re.findall(r"message (\w+) \{(.*?)\n\}", text, re.S):
        message = file.message_type.add(name=name)
        oneof = "oneof" in body
        if oneof:
            message.oneof_decl.add(name="command")
        for kind, field, number in re.findall(r"(\w+) (\w+) = (\d+);", body):
            added = message.field.add(name=field, number=int(number), type=TYPES[kind], label=1)
            if oneof:
                added.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = getattr(message_factory, "GetMessageClass", None) or message_factory.MessageFactory(pool).GetPrototype
    return [make(pool.FindMessageTypeByName(f"tutorial.{name}")) for name in ("CameraStatus", "CameraCommand")]


CameraStatus, CameraCommand = messages()


def say(text):
    print(text, flush=True)


async def read(socket):
    async for message in socket:
        if isinstance(message, bytes):
            command = CameraCommand.FromString(message)
            message = json.dumps({"command": MessageToDict(command, preserving_proto_field_name=True)})
        say(message)


async def publish(options):
    async with websockets.connect(options.url) as socket:
        reader = asyncio.create_task(read(socket))
        sent = 0
        while not reader.done() and (options.count is None or sent < options.count):
            sent += 1
            status = CameraStatus(isConnected=True)
            if not options.bare:
                status.fps, status.frames_sent, status.cpu_percent, status.memory_total_mb = 29.5, sent, 12.5, 3800
            await socket.send(status.SerializeToString())
            await asyncio.sleep(1 / options.rate)
        say(json.dumps({"sent": sent}))
        await reader


async def watch(options):
    async with websockets.connect(options.url) as socket:
        say(json.dumps({"connected": True}))
        await read(socket)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["publish", "watch", "hex"])
    parser.add_argument("url", nargs="?")
    parser.add_argument("--rate", type=float, default=30)
    parser.add_argument("--count", type=int)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    if options.what == "hex":
        full = CameraStatus(
            isConnected=True, fps=29.5, frames_sent=3, frames_dropped=4, cpu_percent=5, memory_percent=6,
            memory_used_mb=7, memory_total_mb=8, network_mbps=9, latency_ms=10, cameraName="cam", brightness=-12,
            width=13, height=14, errorMessage="err", motion_detected=True, motion_intensity=17, capture_time_us=18,
        )  # fmt: skip
        say(full.SerializeToString().hex())
        return 0
    asyncio.run(publish(options) if options.what == "publish" else watch(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
