#!/usr/bin/python3
"""How old pictures are when a script has them: `sightline frames` beside OpenCV's VideoCapture, in the same minutes.

usage: frames.py [--seconds N] [--busy MS] [--fps RATE] SIGHTLINE URL

URL is a stream of 640x480 with a stamp (docs/reference/stamp.md), as `sightline serve --source test` gives it. The age is that of the
stamp drawn into the picture, read when the script has the pixels; --busy is how long the script then works on each. Both take turns, three times.
"""

import argparse
import json
import os
import subprocess
import time

os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"
import cv2
import numpy


def stamp_age_ms(picture):
    """None where the stamp cannot be read. The checksum is left out: a wrong one would be years off."""
    rows, columns = numpy.arange(5), numpy.arange(18)
    cells = picture[numpy.ix_(424 + rows * 8 + 4, 480 + columns * 8 + 4)].mean(axis=2)
    bits = cells > cells[0].mean()
    if not (bits[0] == (columns % 2 == 0)).all():
        return None
    low = int("".join("01"[int(bit)] for row in bits[1:4] for bit in row[1:17]), 2)
    now_us = time.time_ns() // 1000
    age_us = (now_us - low) % (1 << 48)
    return age_us / 1000 if age_us < 60_000_000 else None


def ours(options):
    command = [options.sightline, "frames", options.url, "--fps", options.fps, "--format", "bgr24", "--header"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while line := process.stdout.readline():
        about = json.loads(line)
        pixels = process.stdout.read(about["bytes"])
        keep = yield numpy.frombuffer(pixels, numpy.uint8).reshape(about["height"], about["width"], 3)
        if keep is False:
            break
    process.terminate()
    process.wait()


def opencv(options):
    capture = cv2.VideoCapture(options.url, cv2.CAP_FFMPEG)
    while True:
        good, picture = capture.read()
        keep = yield picture
        if keep is False or not good:
            break
    capture.release()


def ages(pictures, options):
    found, until = [], time.monotonic() + options.seconds
    next(pictures)
    while time.monotonic() < until:
        picture = pictures.send(True)
        age = stamp_age_ms(picture)
        if age is not None:
            found.append(age)
        time.sleep(options.busy / 1000)
    try:
        pictures.send(False)
    except StopIteration:
        pass
    return found[len(found) // 10 :]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sightline")
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--busy", type=float, default=0)
    parser.add_argument("--fps", default="all")
    options = parser.parse_args()
    for turn in range(3):
        for name, way in (("sightline frames", ours), ("VideoCapture", opencv)):
            found = numpy.array(ages(way(options), options))
            p50, p99 = numpy.percentile(found, [50, 99])
            print(f"{turn + 1} {name:17} {len(found):5} pictures, age p50 {p50:7.1f} ms, p99 {p99:7.1f} ms, last {found[-1]:7.1f} ms", flush=True)


if __name__ == "__main__":
    main()
