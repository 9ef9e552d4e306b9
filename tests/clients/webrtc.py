#!/usr/bin/python3
"""aiortc as WHEP viewer and WHIP publisher, and as a server that takes one stream by WHIP, for the end-to-end tests.

usage: webrtc.py view|publish URL --seconds N [--token TOKEN] [--without-rtx]; a viewer's seconds count from its first picture on
       webrtc.py take PORT --seconds N [--token TOKEN] [--refuse picture|sound|all]

The server says "listening" when it is there, and "deleted" when its client has said that it leaves; `--refuse all` takes connections and never answers.

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


def taking(arguments, counted):
    """A server for one client: HTTP/1.1 as far as WHIP needs it."""
    gone = asyncio.Event()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        method, path, _ = head[0].split()
        body = (await reader.readexactly(int(fields.get("content-length", 0)))).decode()

        def answer(status, more="", text=""):
            writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
            writer.close()

        if arguments.refuse == "all":
            say("asked")
            return
        if arguments.token and fields.get("authorization") != "bearer " + arguments.token.lower():
            return answer("401 Unauthorized")
        if method == "DELETE":
            say("deleted", path=path)
            gone.set()
            return answer("200 OK")
        if path == "/moved":
            return answer("307 Temporary Redirect", "Location: /cam/whip\r\n")
        connection = RTCPeerConnection()

        @connection.on("connectionstatechange")
        async def changed():
            say(connection.connectionState)

        @connection.on("track")
        def came(track):
            asyncio.ensure_future(counted(track))

        await connection.setRemoteDescription(RTCSessionDescription(body, "offer"))
        for transceiver in connection.getTransceivers():
            if {"picture": "video", "sound": "audio"}.get(arguments.refuse) == transceiver.kind:
                transceiver.direction = "inactive"
        await connection.setLocalDescription(await connection.createAnswer())
        answer("201 Created", "Content-Type: application/sdp\r\nLocation: /sessions/1\r\n", connection.localDescription.sdp)

    return serve, gone


async def take(arguments, counted, counts):
    serve, gone = taking(arguments, counted)
    await asyncio.start_server(serve, "127.0.0.1", int(arguments.url))
    say("listening")
    try:
        await asyncio.wait_for(gone.wait(), arguments.seconds)
    except asyncio.TimeoutError:
        pass
    say("end", frames=counts["video"], audio=counts["audio"])
    return True


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["view", "publish", "take"])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--token")
    parser.add_argument("--without-rtx", action="store_true")
    parser.add_argument("--refuse", choices=["picture", "sound", "all"])
    arguments = parser.parse_args()
    counts = {"video": 0, "audio": 0}
    seen = asyncio.Event()

    async def count(track):
        while True:
            try:
                frame = await track.recv()
            except Exception:
                return
            if track.kind == "video" and counts["video"] == 0:
                say("frame", width=frame.width, height=frame.height)
                seen.set()
            counts[track.kind] += 1

    if arguments.what == "take":
        return await take(arguments, count, counts)
    connection = RTCPeerConnection()

    @connection.on("connectionstatechange")
    async def changed():
        say(connection.connectionState)

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
    if arguments.what == "view":
        # However long a busy machine takes to connect.
        await asyncio.wait_for(seen.wait(), 30)
    await asyncio.sleep(arguments.seconds)
    state = connection.connectionState
    status, _, _ = await asyncio.to_thread(ask, "DELETE", session, None)
    await connection.close()
    say("end", frames=counts["video"], audio=counts["audio"], state=state, deleted=status)
    return arguments.what == "publish" or counts["video"] > 0


if __name__ == "__main__":
    raise SystemExit(0 if asyncio.run(main()) else 1)
