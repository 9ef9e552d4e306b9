"""What recording costs, and finding what was recorded. Part of measure.py, which hands itself over as `bench`."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

# Each beside the same without.
RECORDERS = ("sightline", "mediamtx")
# Cameras of a relay, each written as HLS and recorded.
RELAYS = {"relay1": 1, "relay5": 5}
# The last is a year in the index.
ROWS = ["record", *RELAYS, "year"]

COLUMNS = [
    ("record_percent", "recording, % of a core a camera", "{:.3f}"),
    ("percent_on", "with all else", "{:.3f}"),
    ("percent_off", "without recording", "{:.3f}"),
    ("disk_mb", "MB to the disk a camera and minute", "{:.1f}"),
    ("process_mb", "by the process", "{:.1f}"),
    ("disk_writes", "writes to the disk a camera and minute", "{:.0f}"),
    ("calls", "calls", "{:.0f}"),
    ("mib_on", "MiB recording", "{:.0f}"),
    ("mib_off", "MiB not", "{:.0f}"),
    ("percent_each", "% of a core a camera", "{:.2f}"),
    ("mib", "MiB of all", "{:.1f}"),
    ("own_mib", "MiB without the program's file", "{:.1f}"),
    ("rows", "rows", "{:.0f}"),
    ("row_bytes", "bytes a row", "{:.0f}"),
    ("index_kb", "KB of the index a camera and minute", "{:.1f}"),
    ("ranges_p50_ms", "ranges of a year p50 ms", "{:.2f}"),
    ("ranges_p99_ms", "p99 ms", "{:.2f}"),
    ("instant_p50_ms", "an instant p50 ms", "{:.2f}"),
    ("instant_p99_ms", "p99 ms", "{:.2f}"),
    ("http_ranges_p50_ms", "ranges by HTTP p50 ms", "{:.2f}"),
    ("http_ranges_p99_ms", "p99 ms", "{:.2f}"),
    ("warm_p50_ms", "first byte p50 ms", "{:.2f}"),
    ("warm_p99_ms", "p99 ms", "{:.2f}"),
    ("cold_p50_ms", "first byte, files not in memory, p50 ms", "{:.2f}"),
    ("cold_p99_ms", "p99 ms", "{:.2f}"),
]


def settings_of_others(bench, folder):
    """Settings of others that record into a folder, in files of a minute as ours are."""
    mediamtx, _ = bench.only("rtsp")
    return mediamtx + f"""    record: yes
    recordPath: {folder}/%path/%Y-%m-%d_%H-%M-%S-%f
    recordFormat: fmp4
    recordSegmentDuration: 60s
""", ""


class Cost:
    """What a process and the disk below a folder did, from its making on."""

    def __init__(self, bench, pid, folder):
        self.processor_seconds, self.pid, self.device = bench.processor_seconds, pid, os.stat(folder).st_dev
        # What others had not written yet is not counted.
        os.sync()
        self.begun, self.before = time.monotonic(), self.read()

    def read(self):
        io = dict(line.split(": ") for line in pathlib.Path(f"/proc/{self.pid}/io").read_text().splitlines())
        wanted = f"{os.major(self.device)} {os.minor(self.device)} "
        lines = [" ".join(line.split()) for line in pathlib.Path("/proc/diskstats").read_text().splitlines()]
        disk = next((line.split()[3:] for line in lines if line.startswith(wanted)), None)
        return {
            "processor": self.processor_seconds(self.pid),
            "process_bytes": int(io["write_bytes"]),
            "calls": int(io["syscw"]),
            # Writes that were done, and sectors of 512 bytes (Documentation/admin-guide/iostats.rst).
            "writes": disk and int(disk[4]),
            "disk_bytes": disk and int(disk[6]) * 512,
        }

    def since(self):
        passed = time.monotonic() - self.begun
        processor = self.processor_seconds(self.pid) - self.before["processor"]
        # The rest is still in memory.
        os.sync()
        after = self.read()
        gone = {key: after[key] - before for key, before in self.before.items() if before is not None and after[key] is not None}
        return {**gone, "seconds": passed, "processor": processor}


def record(bench, servers, name, options):
    """So many streams, first not recorded and then recorded: what of the server's cost is the recording's, and what the disk gets."""
    streams, figures = options.streams, {}
    for state in ("off", "on"):
        with tempfile.TemporaryDirectory(dir=options.disk) as folder:
            settings = bench.only("rtsp") if state == "off" else settings_of_others(bench, folder)
            ours = {"SIGHTLINE_RECORD_ENABLED": "true" if state == "on" else "false", "SIGHTLINE_RECORD_PATH": f"{folder}/ours"}
            with servers.running(name, settings, ours) as (server, _):
                settle = 3 + streams / 2
                with bench.published(options, streams, settle + options.record_seconds + 30, settle):
                    cost = Cost(bench, server.pid, folder)
                    time.sleep(options.record_seconds)
                    if server.poll() is not None:
                        raise RuntimeError(f"{name} ended with {server.returncode} under the load")
                    done = cost.since()
                    percent = 100 * done["processor"] / done["seconds"] / streams
                    figures |= {f"percent_{state}": percent, f"mib_{state}": bench.resident_kib(server.pid) / 1024}
                    if state == "on":
                        each = 60 / done["seconds"] / streams
                        figures |= {
                            "disk_mb": done["disk_bytes"] * each / 1e6 if "disk_bytes" in done else None,
                            "process_mb": done["process_bytes"] * each / 1e6,
                            "disk_writes": done["writes"] * each if "writes" in done else None,
                            "calls": done["calls"] * each,
                            "files": sum(1 for file in pathlib.Path(folder).rglob("*.mp4") if file.stat().st_size > 0),
                        }
    if figures["files"] < streams:
        raise RuntimeError(f"{name} has {figures['files']} files of {streams} streams")
    figures["record_percent"] = figures["percent_on"] - figures["percent_off"]
    return figures


def relay(bench, servers, cameras, options):
    """A relay of so many cameras, each written as HLS and recorded. Its cameras are a server on the processor of the load."""
    with tempfile.TemporaryDirectory(dir=options.disk) as place, contextlib.ExitStack() as running:
        folder = pathlib.Path(place)
        program = servers.programs["sightline"]
        tables = "".join(
            f'[relay.c{number}]\nsource = "{bench.STREAM if number == 0 else f"{bench.STREAM}{number}"}"\n'
            f'hls_dir = "{folder}/hls{number}"\nrecord_dir = "{folder}/record{number}"\n'
            for number in range(cameras)
        )
        (folder / "relay.toml").write_text(tables)
        log = running.enter_context(open(folder / "log", "wb"))
        begin = lambda cpu, command: running.enter_context(
            ended(subprocess.Popen(["taskset", "-c", cpu, *command], cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        )
        begun = time.monotonic()
        bench.Servers.wait(begin(bench.LOAD_CPU, bench.ours(program, folder)), begun, folder / "log")
        settle = 3 + cameras / 2
        running.enter_context(bench.published(options, cameras, settle + options.record_seconds + 60, settle))
        process = begin(bench.SERVER_CPU, [program, "relay", "--config", str(folder / "relay.toml")])
        # Until all are found and written.
        time.sleep(10)
        cost = Cost(bench, process.pid, folder)
        time.sleep(options.record_seconds)
        done = cost.since()
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text(errors="replace"))
        if len(list(folder.glob("hls*/*.m3u8"))) != cameras:
            raise RuntimeError("not every camera is written")
        return {
            "percent_each": 100 * done["processor"] / done["seconds"] / cameras,
            "mib": bench.resident_kib(process.pid) / 1024,
            "own_mib": own_kib(process.pid) / 1024,
        }


@contextlib.contextmanager
def ended(process):
    """Ends it in the end."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def own_kib(pid):
    """Resident memory that is no file: what a process takes beside its program."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^RssAnon:\s+(\d+)", status, re.M).group(1))


def year(bench, options):
    """Eight cameras for a year in the index, and what it takes to find something: `tests/long/index.rs`, which says so line by line."""
    profile = [] if options.sightline.parent.name == "debug" else ["--release"]
    command = ["cargo", "test", "--quiet", *profile, "--locked", "--package", "sightline", "--test", "long"]
    command += ["a_year_of_eight_cameras", "--", "--nocapture"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=bench.HERE.parent, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stdout + done.stderr).strip()[-2000:])
    wanted = {
        "opened anew: ranges of the whole time": "ranges",
        "opened anew: segment and table of an instant": "instant",
        "by HTTP: ranges of the whole time": "http_ranges",
        "by HTTP: the first byte of a clip, files not in memory": "cold",
        "by HTTP: the first byte of a clip": "warm",
    }
    figures = {}
    for line in done.stdout.splitlines():
        found = re.match(r"(.*): p50 ([\d.]+)(µs|ms|s), p99 ([\d.]+)(µs|ms|s)", line)
        key = found and next((key for text, key in wanted.items() if found[1].startswith(text)), None)
        if key:
            unit = {"µs": 0.001, "ms": 1, "s": 1000}
            figures[f"{key}_p50_ms"] = float(found[2]) * unit[found[3]]
            figures[f"{key}_p99_ms"] = float(found[4]) * unit[found[5]]
        if rows := re.match(r"(\d+) segments, \d+ bytes: (\d+) a segment", line):
            figures |= {"rows": int(rows[1]), "row_bytes": int(rows[2])}
        if written := re.match(r"written: (\d+) bytes a camera and minute", line):
            figures["index_kb"] = int(written[1]) / 1000
    return figures


def measure(bench, servers, name, row, options):
    """One turn of one server; nothing where it is not asked."""
    if row == "record":
        return record(bench, servers, name, options) if name in RECORDERS else {}
    if name != "sightline":
        return {}
    return year(bench, options) if row == "year" else relay(bench, servers, RELAYS[row], options)


def seconds_of(row, servers, options):
    """How long a turn of all servers takes, about."""
    if row == "record":
        return 2 * sum(name in RECORDERS for name in servers.programs) * (options.record_seconds + options.streams / 2 + 10)
    return 300 if row == "year" else options.record_seconds + 25
