#!/usr/bin/python3
"""A path between two network interfaces that loses, holds back and delays packets, for the end-to-end tests.

usage: link.py NAME NAME [--seed N]

Makes two TUN interfaces of these names and carries packets from each to the other, in user space: a kernel needs neither netem nor nft for it, and
what is sent with segmentation offload is lost packet by packet, as on a wire. Whoever started it moves the interfaces into namespaces; they are gone
when it ends. Needs CAP_NET_ADMIN.

Standard input: one JSON object a line, how bad the path is from then on, both ways; what is left out is as on a perfect one. `loss` and `reorder`
(shares of 1), `reorder_by_ms`, `delay_ms`, `rate_kbps` with `queue_bytes` in front of the narrowest place. It ends with its input. Standard output:
`{"event":"ready"}`, then after each line of input the counts since the line before: `sent`, `lost`, `overflowed`, `reordered`.
"""

import argparse
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
# No packet is larger on an interface whose MTU is that of Ethernet.
MAX_PACKET_BYTES = 2_048
# Packets that are taken from an interface before the other one has its turn.
PACKETS_PER_TURN = 64
PERFECT = {"loss": 0.0, "reorder": 0.0, "reorder_by_ms": 0.0, "delay_ms": 0.0, "rate_kbps": None, "queue_bytes": 65_536}


def tun(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


class Direction:
    """From one interface to the other."""

    def __init__(self, source, sink, seed):
        self.source, self.sink = source, sink
        self.random = random.Random(seed)
        self.under_way, self.order, self.busy_until = [], 0, 0.0
        self.counts = dict.fromkeys(("sent", "lost", "overflowed", "reordered"), 0)

    def take(self, quality):
        """What the interface was given."""
        for _ in range(PACKETS_PER_TURN):
            try:
                packet = os.read(self.source, MAX_PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                return  # It is down, as while it is moved into its namespace.
            self.send(packet, quality, time.monotonic())

    def send(self, packet, quality, now):
        self.counts["sent"] += 1
        if self.random.random() < quality["loss"]:
            self.counts["lost"] += 1
            return
        at = now
        if quality["rate_kbps"]:
            bits_per_second = quality["rate_kbps"] * 1_000
            begins = max(self.busy_until, now)
            if (begins - now) * bits_per_second > quality["queue_bytes"] * 8:
                self.counts["overflowed"] += 1
                return
            at = self.busy_until = begins + len(packet) * 8 / bits_per_second
        at += quality["delay_ms"] / 1_000
        if self.random.random() < quality["reorder"]:
            self.counts["reordered"] += 1
            at += quality["reorder_by_ms"] / 1_000
        self.order += 1
        heapq.heappush(self.under_way, (at, self.order, packet))

    def deliver(self):
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            packet = heapq.heappop(self.under_way)[2]
            try:
                os.write(self.sink, packet)
            except OSError:
                pass  # It is down.

    def wait(self):
        """Seconds until the next packet has arrived; None when none is under way."""
        return max(0.0, self.under_way[0][0] - time.monotonic()) if self.under_way else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    one, other = map(tun, arguments.names)
    directions = {
        one: Direction(one, other, arguments.seed),
        other: Direction(other, one, arguments.seed + 1),
    }
    print(json.dumps({"event": "ready"}), flush=True)
    quality = PERFECT
    commands = sys.stdin.buffer
    while True:
        waits = [wait for wait in (direction.wait() for direction in directions.values()) if wait is not None]
        readable, _, _ = select.select([one, other, commands], [], [], min(waits, default=None))
        for descriptor in readable:
            if descriptor in directions:
                directions[descriptor].take(quality)
                continue
            line = commands.readline()
            if not line:
                return
            quality = {**PERFECT, **json.loads(line)}
            counts = {key: sum(direction.counts[key] for direction in directions.values()) for key in directions[one].counts}
            print(json.dumps(counts), flush=True)
            for direction in directions.values():
                direction.counts = dict.fromkeys(direction.counts, 0)
        for direction in directions.values():
            direction.deliver()


if __name__ == "__main__":
    main()
