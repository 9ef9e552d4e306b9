#!/usr/bin/env python3
"""Stand-in for rpicam-vid; see fake_camera.rs."""
import os
import signal
import subprocess
import sys
import time

VERSION, BEHAVIOUR, COUNT, AGE = "@VERSION@", "@BEHAVIOUR@", int("@COUNT@"), float("@AGE_MS@") / 1000

VALUES = {
    "-t": "--timeout", "-o": "--output", "-b": "--bitrate", "-g": "--intra",
    **{name: name for name in (
        "--timeout", "--output", "--bitrate", "--intra", "--width", "--height", "--framerate", "--camera", "--codec",
        "--profile", "--level", "--denoise", "--buffer-count", "--mode", "--autofocus-mode", "--shutter")},
}
FLAGS = {"-n": "--nopreview", **{name: name for name in (
    "--nopreview", "--vflip", "--hflip", "--inline", "--flush", "--help", "--list-cameras")}}
if VERSION == "bookworm":
    VALUES.update({name: name for name in ("--metadata", "--metadata-format", "--libav-format")})
    FLAGS.update({name: name for name in ("--no-raw", "--low-latency")})


def fail(message):
    print(f"ERROR: *** {message} ***", file=sys.stderr)
    sys.exit(255)


def parse(words):
    options = {}
    words = list(words)
    while words:
        word = words.pop(0)
        if word in FLAGS:
            options[FLAGS[word]] = True
        elif word in VALUES:
            if not words:
                fail(f"the required argument for option '{word}' is missing")
            options[VALUES[word]] = words.pop(0)
        else:
            fail(f"unrecognised option '{word}'")
    return options


def usage():
    print("Valid options are:")
    shorts = {long: short for short, long in (*VALUES.items(), *FLAGS.items()) if not short.startswith("--")}
    for long in sorted({*VALUES.values(), *FLAGS.values()}):
        name = f"{shorts[long]} [ {long} ]" if long in shorts else long
        argument = " arg" if long in VALUES.values() else " [=arg(=1)] (=0)"
        print(f"  {name + argument:<40}Some words, --with a dash, about it")


def h264(options, size, rate):
    if options.get("--profile") != "baseline" or not options.get("--inline"):
        fail("this stand-in makes baseline with inline headers alone")
    encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline",
               "-level", options["--level"], "-b:v", options["--bitrate"], "-g", options["--intra"],
               "-keyint_min", options["--intra"], "-pix_fmt", "yuv420p"]
    frames = ["-frames:v", str(COUNT)] if BEHAVIOUR == "dies" else []
    command = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}",
               *encoder, *frames, "-f", "h264", "-"]
    if BEHAVIOUR == "dies":
        subprocess.run(command, check=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.execvp(command[0], command)


def raw(options, width, height, rate):
    source = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc2=size={width}x{height}:rate={rate}",
         "-pix_fmt", "yuvj420p", "-f", "rawvideo", "-"], stdout=subprocess.PIPE)
    metadata = open(options["--metadata"], "w") if "--metadata" in options else None
    gap = -width % 64
    start = time.monotonic()
    count = 0
    while True:
        picture = source.stdout.read(width * height * 3 // 2)
        if gap:
            luma = width * height
            rows = [picture[at:at + width] + bytes(gap) for at in range(0, luma, width)]
            rows += [picture[at:at + width // 2] + bytes(gap // 2) for at in range(luma, len(picture), width // 2)]
            picture = b"".join(rows)
        time.sleep(max(0, start + count / rate - time.monotonic()))
        stamp = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - int(AGE * 1e9)
        sys.stdout.buffer.write(picture)
        sys.stdout.buffer.flush()
        count += 1
        if metadata:
            metadata.write(f"ExposureTime=33000\nSensorTimestamp={stamp}\nColourGains=[ 1.5, 2.0 ]\n\n")
            metadata.flush()
        if BEHAVIOUR == "dies" and count == COUNT:
            source.kill()
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    options = parse(sys.argv[1:])
    if "--help" in options:
        return usage()
    if "--list-cameras" in options:
        if BEHAVIOUR == "no camera":
            return print("No cameras available!")
        print("Available cameras\n-----------------")
        print("0 : imx219 [3280x2464 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx219@10)")
        print("    Modes: 'SRGGB10_CSI2P' : 640x480 [103.33 fps - (1000, 752)/1280x960 crop]")
        print("                             1640x1232 [41.85 fps - (0, 0)/3280x2464 crop]")
        return print("           'SRGGB8' : 640x480 [103.33 fps - (1000, 752)/1280x960 crop]\n")
    with open(os.path.splitext(sys.argv[0])[0] + ".arguments", "w") as file:
        file.write("\n".join(sys.argv[1:]))
    print("[0:01:02] [42]  INFO Camera camera_manager.cpp:299 libcamera v0.1.0", file=sys.stderr)
    if options.get("--output") != "-" or options.get("--timeout") != "0":
        fail("this stand-in writes to its output for ever alone")
    if BEHAVIOUR == "no camera":
        fail("no cameras available")
    if BEHAVIOUR == "hangs":
        print("[0:01:03] [42] ERROR RPI pipeline_base.cpp:1412 Camera frontend has timed out", file=sys.stderr)
        time.sleep(1000)
    width, height = int(options["--width"]), int(options["--height"])
    rate = float(options["--framerate"])
    if options["--codec"] == "h264":
        h264(options, f"{width}x{height}", rate)
    elif options["--codec"] == "yuv420":
        raw(options, width, height, rate)
    else:
        fail("unrecognised codec " + options["--codec"])


try:
    main()
except (BrokenPipeError, KeyboardInterrupt):
    sys.exit(255)
