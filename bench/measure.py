#!/usr/bin/env python3
"""Runs servers one at a time under the same load and writes down what they cost. Started by bench/run.

The load is `sightline bench`: it publishes one stream by RTSP with the time inside every frame, plays it with many viewers by RTSP,
WebRTC or LL-HLS, and reads the server's processor time and memory. Server and load each have a processor of their own. Servers take turns, so that
what disturbs the machine for a while disturbs all; medians and ranges over the turns are reported.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SERVER_CPU, LOAD_CPU = "0", "1"

# Name: the load, and what else it is told.
LOADS = {
    "tcp100": ["rtsp", "--viewers", "100", "--transport", "tcp"],
    "tcp400": ["rtsp", "--viewers", "400", "--transport", "tcp"],
    "tcp1000": ["rtsp", "--viewers", "1000", "--transport", "tcp"],
    "udp100": ["rtsp", "--viewers", "100", "--transport", "udp"],
    "udp400": ["rtsp", "--viewers", "400", "--transport", "udp"],
    "whep20": ["whep", "--viewers", "20"],
    "whep150": ["whep", "--viewers", "150"],
    "whep300": ["whep", "--viewers", "300"],
    "hls20": ["hls", "--viewers", "20"],
    "hls200": ["hls", "--viewers", "200"],
}
ROWS = [*LOADS, "join", "start", "idle"]


def free_ports(count):
    """So many in a row that nobody listens on now."""
    for first in range(20000, 30000, count):
        with contextlib.ExitStack() as sockets:
            try:
                for port in range(first, first + count):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        sockets.enter_context(socket.socket(socket.AF_INET, kind)).bind(("0.0.0.0", port))
            except OSError:
                continue
            return range(first, first + count)
    raise RuntimeError("no free ports")


# RTP has to be at an even port, RTCP at the next.
RTSP, WHEP, RTP, RTCP, HLS, ICE = free_ports(6)
STREAM = f"rtsp://127.0.0.1:{RTSP}/load"


def watched(server, load):
    """Where the viewers of a load look; nothing where a server does not serve them."""
    if load == "rtsp":
        return STREAM
    if server == "floor" or (server, load) == ("go2rtc", "hls"):
        return None
    if server == "go2rtc":
        return f"http://127.0.0.1:{WHEP}/api/webrtc?src=load"
    port, what = (WHEP, "whep") if load == "whep" else (HLS, "index.m3u8")
    return f"http://127.0.0.1:{port}/load/{what}"


def only(load):
    """Settings of others with RTSP and that alone."""
    on = lambda what: "yes" if load == what else "no"
    mediamtx = f"""logLevel: warn
rtspAddress: :{RTSP}
rtpAddress: :{RTP}
rtcpAddress: :{RTCP}
rtmp: no
hls: {on("hls")}
hlsAddress: :{HLS}
hlsVariant: lowLatency
hlsSegmentDuration: 1s
hlsPartDuration: 100ms
webrtc: {on("whep")}
webrtcAddress: :{WHEP}
webrtcLocalUDPAddress: :{ICE}
srt: no
moq: no
paths:
  all_others:
"""
    modules = "[rtsp, api, webrtc]" if load == "whep" else "[rtsp]"
    go2rtc = f"""app: {{modules: {modules}}}
log: {{level: warn}}
api: {{listen: ':{WHEP}'}}
rtsp: {{listen: ':{RTSP}'}}
webrtc: {{listen: ':{ICE}'}}
streams: {{load: }}
"""
    return mediamtx, go2rtc


def everything_on():
    mediamtx = f"logLevel: warn\nrtspAddress: :{RTSP}\npaths:\n  all_others:\n"
    go2rtc = f"log: {{level: warn}}\nrtsp: {{listen: ':{RTSP}'}}\nstreams: {{load: }}\n"
    return mediamtx, go2rtc


class Servers:
    """The programs that are compared, and how each is started in a folder of its own."""

    def __init__(self, options):
        self.programs = {"sightline": str(options.sightline.resolve()), "floor": str(options.floor.resolve())}
        for name, variable in (("mediamtx", "MEDIAMTX"), ("go2rtc", "GO2RTC")):
            path = os.environ.get(variable)
            if path:
                self.programs[name] = str(pathlib.Path(path).resolve())
            else:
                print(f"bench: no {name}: {variable} does not name its program", file=sys.stderr)

    def command(self, name, folder, settings):
        program = self.programs[name]
        mediamtx, go2rtc = settings
        if name == "sightline":
            ports = {"rtsp": RTSP, "http": 0, "https": 0, "hls": HLS, "webrtc": WHEP, "ice": ICE}
            ports = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
            return [program, "serve", "--open", *ports, "--state-dir", str(folder / "state")]
        if name == "floor":
            return [program, str(RTSP)]
        if name == "mediamtx":
            (folder / "m.yml").write_text(mediamtx)
            return [program, "m.yml"]
        (folder / "g.yaml").write_text(go2rtc)
        return [program, "-config", "g.yaml"]

    def versions(self):
        found = {}
        for name, program in self.programs.items():
            if name != "floor":
                answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
                found[name] = (answer.stdout or answer.stderr).strip().splitlines()[0]
        return found

    @contextlib.contextmanager
    def running(self, name, settings):
        """Starts a server; gives its process and the milliseconds until it listened."""
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            command = ["taskset", "-c", SERVER_CPU, *self.command(name, folder, settings)]
            with open(folder / "log", "wb") as log:
                begun = time.monotonic()
                server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                try:
                    yield server, self.wait(server, begun, folder / "log")
                finally:
                    server.send_signal(signal.SIGTERM)
                    try:
                        server.wait(5)
                    except subprocess.TimeoutExpired:
                        server.kill()
                        server.wait()

    @staticmethod
    def wait(server, begun, log):
        while time.monotonic() - begun < 10:
            if server.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", RTSP)) == 0:
                    return (time.monotonic() - begun) * 1000
            # Not shorter: a parent that spins delays its child.
            time.sleep(0.0002)
        raise RuntimeError(f"{server.args[3]} does not listen:\n{log.read_text(errors='replace')}")


def idle_share(seconds):
    """Share of processor time that nobody used."""

    def read():
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return fields[3] + fields[4], sum(fields)

    idle, total = read()
    time.sleep(seconds)
    idle_after, total_after = read()
    return (idle_after - idle) / max(1, total_after - total)


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmRSS:\s+(\d+)", status, re.M).group(1))


def load_command(options, load, url, *arguments):
    program = ["taskset", "-c", LOAD_CPU, str(options.sightline.resolve())]
    return [*program, "bench", load, url, "--json", *map(str, arguments)]


def report_of(process, limit):
    try:
        said, complained = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        raise RuntimeError(complained.strip())
    return json.loads(said)


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def join(options):
    """Viewers that come one by one, at no particular moment of the two seconds between keyframes."""
    publisher = start(load_command(options, "rtsp", STREAM, "--publish", "--gop", 60, "--viewers", 0, "--seconds", 30))
    time.sleep(2.5)
    if publisher.poll() is not None:
        raise RuntimeError(publisher.communicate()[1].strip())
    viewers = []
    for _ in range(40):
        viewers.append(start(load_command(options, "rtsp", STREAM, "--viewers", 1, "--seconds", 0.1)))
        # No divisor of the keyframe interval, so that all of its moments are met.
        time.sleep(0.373)
    waits = [report_of(viewer, 20)["first_picture"]["p50_ms"] for viewer in viewers]
    publisher.terminate()
    publisher.wait()
    waits.sort()
    return {
        "first_picture_p50_ms": waits[len(waits) // 2],
        "first_picture_p95_ms": waits[len(waits) * 95 // 100],
    }


def load(options, pid, load, url, arguments):
    publish = ["--publish"] if load == "rtsp" else ["--publish", STREAM]
    command = load_command(options, load, url, *publish, "--seconds", options.seconds, "--pid", pid, *arguments)
    report = report_of(start(command), 180)
    server = report["server"] or {}
    latency = report["latency"] or {}
    # By RTSP that is a row of its own.
    first = load != "rtsp" and report["first_picture"] or {}
    return {
        "first_picture_p50_ms": first.get("p50_ms"),
        "first_picture_p95_ms": first.get("p95_ms"),
        "cpu_us_per_packet": server.get("cpu_us_per_packet"),
        "cpu_us_per_request": server.get("cpu_us_per_request"),
        "cpu_percent": server.get("cpu_percent"),
        "kib_per_viewer": server.get("kib_per_viewer"),
        "latency_p50_ms": latency.get("p50_ms"),
        "latency_p99_ms": latency.get("p99_ms"),
        "lost_share": report["lost"] / max(1, report.get("packets", report.get("parts", 0)) + report["lost"]),
        "failed_viewers": report["failed"],
    }


def measure(servers, name, row, options):
    """One turn of one server: its figures, or why there are none."""
    try:
        if row == "start":
            with servers.running(name, only("rtsp")) as (_, milliseconds):
                return {"start_ms": milliseconds}
        if row == "idle":
            with servers.running(name, everything_on()) as (server, _):
                time.sleep(3)
                return {"idle_mib": resident_kib(server.pid) / 1024}
        kind, *arguments = LOADS.get(row, ["rtsp"])
        url = watched(name, kind)
        if url is None:
            return {}
        idle = idle_share(1)
        with servers.running(name, only(kind)) as (server, _):
            time.sleep(0.5)
            if server.poll() is not None:
                return {"error": f"{name} ended with {server.returncode} before the load came"}
            if row == "join":
                return {"machine_idle": idle, **join(options)}
            return {"machine_idle": idle, **load(options, server.pid, kind, url, arguments)}
    except subprocess.TimeoutExpired as error:
        return {"error": f"not every viewer had a picture within {error.timeout:.0f} s"}
    except (RuntimeError, OSError) as error:
        return {"error": str(error)}


def summary(turns):
    figures = {}
    for key in sorted({key for turn in turns for key in turn if key != "error"}):
        values = [turn[key] for turn in turns if turn.get(key) is not None]
        if values:
            figures[key] = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    errors = sorted({turn["error"] for turn in turns if "error" in turn})
    return {"turns": len(turns), **figures, **({"errors": errors} if errors else {})}


def machine():
    cpu = re.search(r"^model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return {
        "processor": cpu.group(1) if cpu else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release().split("-")[0],
    }


COLUMNS = [
    ("cpu_us_per_packet", "CPU µs/packet", "{:.2f}"),
    ("cpu_us_per_request", "CPU µs/request", "{:.1f}"),
    ("cpu_percent", "% of a core", "{:.0f}"),
    ("latency_p50_ms", "latency p50 ms", "{:.1f}"),
    ("latency_p99_ms", "p99 ms", "{:.1f}"),
    ("first_picture_p50_ms", "first picture p50 ms", "{:.0f}"),
    ("first_picture_p95_ms", "p95 ms", "{:.0f}"),
    ("kib_per_viewer", "KiB/viewer", "{:.0f}"),
    ("lost_share", "lost", "{:.2%}"),
    ("start_ms", "start ms", "{:.1f}"),
    ("idle_mib", "idle MiB", "{:.1f}"),
]


def table(result):
    lines = []
    for row, by_server in result["rows"].items():
        used = [column for column in COLUMNS if any(column[0] in figures for figures in by_server.values())]
        lines += [f"**{row}**", "", "| server | " + " | ".join(title for _, title, _ in used) + " |"]
        lines += ["|---" * (len(used) + 1) + "|"]
        for server, figures in by_server.items():
            if figures.keys() == {"turns"}:
                continue
            cells = []
            for key, _, form in used:
                value = figures.get(key)
                cells.append(
                    f"{form.format(value['median'])} ({form.format(value['low'])}–{form.format(value['high'])})"
                    if value
                    else "-"
                )
            note = " (failed: " + figures["errors"][0].splitlines()[0] + ")" if "errors" in figures else ""
            lines.append(f"| {server}{note} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def head(result):
    at = result["machine"]
    versions = ", ".join(f"{name} {version.removeprefix(name).strip()}" for name, version in result["versions"].items())
    return (
        f"{at['processor']}, {at['processors']} processors, Linux {at['kernel']}; commit {result['commit']}; {versions}.\n"
        f"`{result['command']}`. Median (lowest–highest) of {result['pairs']} turns.\n"
    )


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--sightline", type=pathlib.Path, required=True)
    parser.add_argument("--floor", type=pathlib.Path, required=True)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--table", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    rows = options.rows.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")

    servers = Servers(options)
    if os.cpu_count() < 2:
        sys.exit("bench: two processors are needed, one for the server and one for the load")
    if (idle := idle_share(2)) < 0.9:
        print(f"bench: the machine is only {idle:.0%} idle: latencies will say little", file=sys.stderr)
    git = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True, cwd=HERE).stdout.strip()
    dirty = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    result = {
        "at": time.strftime("%Y-%m-%d"),
        "commit": git("rev-parse", "--short", "HEAD") + dirty,
        "command": f"bench/run --rows {options.rows} --pairs {options.pairs} --seconds {options.seconds:g}",
        "machine": machine(),
        "versions": servers.versions(),
        "pairs": options.pairs,
        "rows": {},
    }
    for row in rows:
        turns = {name: [] for name in servers.programs}
        for turn in range(options.pairs):
            for name in servers.programs:
                figures = measure(servers, name, row, options)
                turns[name].append(figures)
                print(f"{row} {turn + 1}/{options.pairs} {name}: {json.dumps(figures)}", file=sys.stderr)
        result["rows"][row] = {name: summary(figures) for name, figures in turns.items()}

    out = options.out or HERE / "results" / f"{result['at']}-{result['commit']}.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    text = head(result) + "\n" + table(result)
    print(text)
    if options.table:
        readme = HERE / "README.md"
        before, _, rest = readme.read_text().partition("<!-- table -->\n")
        _, _, after = rest.partition("<!-- end of table -->\n")
        readme.write_text(before + "<!-- table -->\n" + text + "<!-- end of table -->\n" + after)


if __name__ == "__main__":
    main()
