#!/usr/bin/env python3
"""sightline frames URL --fps 5 --format bgr24 --header | python3 frames_opencv.py"""
import json
import sys

import cv2
import numpy

before = None
while line := sys.stdin.buffer.readline():
    about = json.loads(line)
    pixels = sys.stdin.buffer.read(about["bytes"])
    if len(pixels) < about["bytes"]:
        break
    picture = numpy.frombuffer(pixels, numpy.uint8).reshape(about["height"], about["width"], 3)
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (21, 21), 0)
    if before is not None and before.shape == grey.shape:
        changed = (cv2.absdiff(before, grey) > 25).mean()
        print(about["captured"], f"{changed:.1%} changed", flush=True)
    before = grey
