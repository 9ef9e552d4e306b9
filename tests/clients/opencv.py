#!/usr/bin/python3
"""Plays a URL as people's OpenCV scripts do, for the end-to-end tests.

usage: opencv.py [--transport tcp|udp] [--frames N] URL

Standard output: each decoded frame as raw luma (8 bit, WIDTH x HEIGHT bytes), as soon as OpenCV hands it out, so that the
test takes the time and reads the stamp. Standard error: one JSON object a line; "opened" (width, height, fps), "frame" for
the first one (green: the share of green pixels where receivers of old look for the publisher's overlay), "end" (frames).
Exit code 1 when the stream does not open or ends early.
"""

import argparse
import json
import os
import sys


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)


def green_share(cv2, frame):
    """Rows 5 to 25, columns 5 to 150, hue 40 to 80 of 180: the overlay's place and colour."""
    corner = cv2.cvtColor(frame[5:25, 5:150], cv2.COLOR_BGR2HSV)
    return float((cv2.inRange(corner, (40, 50, 50), (80, 255, 255)) > 0).mean())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--transport", choices=["tcp", "udp"], default="tcp")
    parser.add_argument("--frames", type=int, default=90)
    options = parser.parse_args()

    # Read by OpenCV when it opens the stream, so it has to be there before.
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = f"rtsp_transport;{options.transport}"
    import cv2

    capture = cv2.VideoCapture(options.url, cv2.CAP_FFMPEG)
    if not capture.isOpened():
        say("failed", why="VideoCapture did not open the URL")
        return 1
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    say(
        "opened",
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        fps=capture.get(cv2.CAP_PROP_FPS),
    )
    for count in range(options.frames):
        good, frame = capture.read()
        if not good:
            say("end", frames=count)
            return 1
        sys.stdout.buffer.write(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).tobytes())
        sys.stdout.buffer.flush()
        if count == 0:
            say("frame", green=green_share(cv2, frame))
    say("end", frames=options.frames)
    return 0


if __name__ == "__main__":
    sys.exit(main())
