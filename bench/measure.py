#!/usr/bin/env python3
"""Runs servers one at a time under the same load and writes down what they cost. Started by bench/run.

The load is `sightline bench`: it publishes one stream by RTSP with the time inside every frame, plays it with many viewers by RTSP,
WebRTC or LL-HLS, and reads the server's processor time and memory. Server and load each have a processor of their own. Servers take turns, so that
what disturbs the machine for a while disturbs all; medians and ranges over the turns are reported.
"""

import argparse
import contextlib
import http.client
import http.cookiejar
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
import urllib.error
import urllib.parse
import urllib.request

import recording

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
# Whether the cost of a viewer is the same however many there are; of less than 2 Mb/s each, so that the load keeps up with the most.
FLAT = [1, 10, 100, 400, 1000, 2000]
LOADS |= {f"flat{viewers}": ["rtsp", "--viewers", str(viewers), "--bitrate", "500k"] for viewers in FLAT}
# How long a turn of a row takes besides what is measured: to start, to let all join, to look whether the machine is idle.
JOINING = {"whep150": 12, "whep300": 25, "tcp1000": 8, "flat1000": 8, "flat2000": 15}
ROWS = ["start", "idle", "join", *LOADS, "lists", "first_list", *recording.ROWS]
# Names for several rows.
GROUPS = {"flat": [row for row in LOADS if row.startswith("flat")], "recording": recording.ROWS}


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
    load = "hls" if load in ("lists", "first_list") else load
    if server == "floor" or (server, load) == ("go2rtc", "hls"):
        return None
    if server == "go2rtc":
        return f"http://127.0.0.1:{WHEP}/api/webrtc?src=load"
    port, what = (WHEP, "whep") if load == "whep" else (HLS, "index.m3u8")
    return f"http://127.0.0.1:{port}/load/{what}"


def only(load):
    """Settings of others with RTSP and that alone."""
    load = "hls" if load in ("lists", "first_list") else load
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


def ours(program, folder):
    ports = {"rtsp": RTSP, "rtsps": 0, "http": 0, "https": 0, "hls": HLS, "webrtc": WHEP, "ice": ICE}
    ports = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    return [program, "serve", "--open", *ports, "--state-dir", str(folder / "state")]


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
            return ours(program, folder)
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
    def running(self, name, settings, environment=None):
        """Starts a server; gives its process and the milliseconds until it listened."""
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place)
            command = ["taskset", "-c", SERVER_CPU, *self.command(name, folder, settings)]
            with open(folder / "log", "wb") as log:
                begun = time.monotonic()
                server = subprocess.Popen(
                    command, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
                )
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


def playlist(url, opener=None):
    """The list of segments behind the first that is asked for: its URL and text. Waits while the server says that there is none yet."""
    opener = opener or urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    begun = time.monotonic()
    while time.monotonic() - begun < 20:
        try:
            with opener.open(url, timeout=20) as answer:
                text, url = answer.read().decode(), answer.geturl()
        except urllib.error.HTTPError as error:
            if error.code not in (404, 503):
                raise RuntimeError(f"{url}: {error}") from error
            time.sleep(0.01)
            continue
        if "#EXT-X-MEDIA-SEQUENCE" in text:
            return url, text
        named = [line for line in text.splitlines() if line and not line.startswith("#")]
        if not named:
            raise RuntimeError(f"{url} lists nothing")
        url = urllib.parse.urljoin(url, named[0])
    raise RuntimeError(f"{url}: no list within 20 s")


@contextlib.contextmanager
def published(options, streams, seconds, settle=3):
    """So many streams, on the processor of the load. `settle`: until all of them are encoded and sent."""
    urls = [STREAM if number == 0 else f"{STREAM}{number}" for number in range(streams)]
    arguments = ["--publish", "--viewers", 0, "--seconds", seconds]
    publishers = [start(load_command(options, "rtsp", url, *arguments)) for url in urls]
    try:
        time.sleep(settle)
        for publisher in publishers:
            if publisher.poll() is not None:
                raise RuntimeError(publisher.communicate()[1].strip())
        yield
    finally:
        for publisher in publishers:
            publisher.terminate()
            publisher.communicate()


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def lists(options, pid, url):
    """One list, asked for by 16 connections as fast as answers come: how many a second of the server's processor time."""
    with published(options, 1, options.seconds + 30):
        found, _ = playlist(url)
        parts = urllib.parse.urlsplit(found)
        path = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
        before = processor_seconds(pid)
        asked = [str(options.lists), str(parts.port), path, "16", str(options.seconds)]
        done = subprocess.run(["taskset", "-c", LOAD_CPU, *asked], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        answers, size = map(int, done.stdout.split())
        busy = processor_seconds(pid) - before
        return {"lists_per_core": answers / max(busy, 0.01), "lists_per_second": answers / options.seconds, "list_bytes": size / max(answers, 1)}


def first_list(options, url):
    """The first who asks for a stream that is there: until its list has something to play."""
    streams = 5
    waits = []
    with published(options, streams, 60):
        for number in range(streams):
            here = url if number == 0 else url.replace("/load/", f"/load{number}/")
            begun = time.monotonic()
            _, text = playlist(here)
            if "#EXT-X-PART:" not in text and "#EXTINF:" not in text:
                raise RuntimeError("the first list is empty")
            waits.append((time.monotonic() - begun) * 1000)
    return {"first_list_p50_ms": statistics.median(waits), "first_list_max_ms": max(waits)}


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
        if row in recording.ROWS:
            idle = idle_share(1)
            figures = recording.measure(sys.modules[__name__], servers, name, row, options)
            return figures and {"machine_idle": idle, **figures}
        kind, *arguments = LOADS.get(row, [row if row in ("lists", "first_list") else "rtsp"])
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
            if row == "lists":
                return {"machine_idle": idle, **lists(options, server.pid, url)}
            if row == "first_list":
                return {"machine_idle": idle, **first_list(options, url)}
            return {"machine_idle": idle, **load(options, server.pid, kind, url, arguments)}
    except subprocess.TimeoutExpired as error:
        return {"error": f"not every viewer had a picture within {error.timeout:.0f} s"}
    except (RuntimeError, OSError, http.client.HTTPException) as error:
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
    ("lists_per_core", "lists a second of a core", "{:.0f}"),
    ("lists_per_second", "lists a second", "{:.0f}"),
    ("first_list_p50_ms", "first list p50 ms", "{:.0f}"),
    ("first_list_max_ms", "longest ms", "{:.0f}"),
    *recording.COLUMNS,
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


def seconds_of(row, servers, options):
    """How long a turn of all servers takes, about."""
    each = {"start": 1, "idle": 4, "join": 30, "lists": 8 + options.seconds, "first_list": 9}
    if row in recording.ROWS:
        return recording.seconds_of(row, servers, options)
    able = [name for name in servers.programs if watched(name, LOADS.get(row, [row if row in ("lists", "first_list") else "rtsp"])[0])]
    return len(able) * each.get(row, options.seconds + 5 + JOINING.get(row, 2))


class Progress:
    """Where it stands, and how long it will still take."""

    def __init__(self, rows, servers, options):
        self.left = [seconds_of(row, servers, options) for row in rows for _ in range(options.pairs)]
        self.all, self.done, self.spent, self.begun = len(self.left), 0, 0, time.monotonic()
        print(f"bench: {len(rows)} rows, {options.pairs} turns of {len(servers.programs)} servers: about {minutes(sum(self.left))}", file=sys.stderr)

    def turn(self):
        """A turn of all servers is over."""
        self.spent += self.left.pop(0)
        self.done += 1
        pace = (time.monotonic() - self.begun) / max(self.spent, 1)
        print(f"bench: {self.done} of {self.all} turns, about {minutes(pace * sum(self.left))} left", file=sys.stderr)


def minutes(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("--sightline", type=pathlib.Path, required=True)
    parser.add_argument("--floor", type=pathlib.Path, required=True)
    parser.add_argument("--lists", type=pathlib.Path, required=True)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--streams", type=int, default=50, help="how many are recorded in the row `record`")
    parser.add_argument("--record-seconds", type=float, default=60, help="how long is recorded in it, and relayed in others")
    parser.add_argument("--disk", type=pathlib.Path, help="a folder on the disk that is recorded to (the usual one for temporary files)")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--table", action="store_true", help="put the table into bench/README.md")
    options = parser.parse_args()
    rows = [row for word in options.rows.split(",") for row in GROUPS.get(word, [word])]
    if unknown := [row for row in rows if row not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join([*ROWS, *GROUPS])}")

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
        "command": f"bench/run{'' if options.rows == ','.join(ROWS) else f' --rows {options.rows}'} --pairs {options.pairs} --seconds {options.seconds:g}"
        + "".join(f" --{name.replace('_', '-')} {value:g}" for name in ("streams", "record_seconds") if (value := getattr(options, name)) != parser.get_default(name)),
        "machine": machine(),
        "versions": servers.versions(),
        "pairs": options.pairs,
        "rows": {},
    }
    progress = Progress(rows, servers, options)
    for row in rows:
        turns = {name: [] for name in servers.programs}
        for turn in range(options.pairs):
            for name in servers.programs:
                figures = measure(servers, name, row, options)
                turns[name].append(figures)
                print(f"{row} {turn + 1}/{options.pairs} {name}: {json.dumps(figures)}", file=sys.stderr)
            progress.turn()
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
    # Ended from outside, it ends its servers and loads as well: what goes on would be in the next measurement.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
