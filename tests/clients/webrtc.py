#!/usr/bin/python3
"""aiortc as WHEP viewer and WHIP publisher, for the end-to-end tests.

usage: webrtc.py view|publish URL --seconds N [--token TOKEN] [--without-rtx]

Standard output: one JSON object a line: "connected" (ms since the start), "frame" for the first one (ms, width, height), "end" (frames, audio).
A publisher sends a picture whose brightness goes up and down, and a tone. Exit code 1 when nothing came, or no session was made.
"""

import argparse
import asyncio
import json
import time
import urllib.parse
import urllib.request

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import AudioStreamTrack
from av import VideoFrame

BEGUN = time.monotonic()


def say(event, **fields):
    print(json.dumps({"event": event, "ms": round((time.monotonic() - BEGUN) * 1000), **fields}), flush=True)


def ask(method, url, token, body=None):
    request = urllib.request.Request(url, data=body.encode() if body else None, method=method)
    if body:
        request.add_header("Content-Type", "application/sdp")
    if token:
        request.add_header("Authorization", "Bearer " + token)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, answer.headers, answer.read().decode()


class Breathing(VideoStreamTrack):
    """640x480 at 30 a second."""

    async def recv(self):
        timestamp, base = await self.next_timestamp()
        phase = (timestamp // 3000) % 60
        frame = VideoFrame(640, 480, "yuv420p")
        for plane, value in zip(frame.planes, (16 + 4 * min(phase, 60 - phase), 128, 128)):
            plane.update(bytes([value]) * plane.buffer_size)
        frame.pts, frame.time_base = timestamp, base
        return frame


async def negotiate(connection, arguments):
    await connection.setLocalDescription(await connection.createOffer())
    status, headers, answer = await asyncio.to_thread(
        ask, "POST", arguments.url, arguments.token, connection.localDescription.sdp
    )
    assert status == 201, status
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    return urllib.parse.urljoin(arguments.url, headers["Location"])


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["view", "publish"])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--token")
    parser.add_argument("--without-rtx", action="store_true")
    arguments = parser.parse_args()
    connection = RTCPeerConnection()
    counts = {"video": 0, "audio": 0}

    @connection.on("connectionstatechange")
    async def changed():
        say(connection.connectionState)

    async def count(track):
        while True:
            try:
                frame = await track.recv()
            except Exception:
                return
            if track.kind == "video" and counts["video"] == 0:
                say("frame", width=frame.width, height=frame.height)
            counts[track.kind] += 1

    @connection.on("track")
    def came(track):
        asyncio.ensure_future(count(track))

    if arguments.what == "view":
        connection.addTransceiver("video", direction="recvonly")
        connection.addTransceiver("audio", direction="recvonly")
    else:
        video = connection.addTransceiver(Breathing(), direction="sendonly")
        if arguments.without_rtx:
            codecs = RTCRtpSender.getCapabilities("video").codecs
            video.setCodecPreferences([codec for codec in codecs if codec.mimeType == "video/H264"])
        connection.addTransceiver(AudioStreamTrack(), direction="sendonly")
    session = await negotiate(connection, arguments)
    await asyncio.sleep(arguments.seconds)
    state = connection.connectionState
    status, _, _ = await asyncio.to_thread(ask, "DELETE", session, None)
    await connection.close()
    say("end", frames=counts["video"], audio=counts["audio"], state=state, deleted=status)
    return arguments.what == "publish" or counts["video"] > 0


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(main()) else 1)
