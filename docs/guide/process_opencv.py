#!/usr/bin/env python3
"""sightline process DIR --every 1s --header -- python3 process_opencv.py LIST.csv"""
import json
import os
import sys

import cv2
import numpy

with open(sys.argv[1], "a", encoding="utf-8") as out:
    while line := sys.stdin.buffer.readline():
        about = json.loads(line)
        jpeg = sys.stdin.buffer.read(about["bytes"])
        picture = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            sys.exit(1)  # the recording stays, and is tried again
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        sharpness = cv2.Laplacian(grey, cv2.CV_64F).var()
        print(os.environ["SEGMENT_FILE"], about["captured"], grey.mean(), sharpness, sep=",", file=out)
