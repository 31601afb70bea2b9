"""What the benches share: where things lie, running a program, medians over alternating pairs, tables."""

import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = pathlib.Path(os.environ.get("MDL_TEST_CACHE") or pathlib.Path.home() / ".cache/mdl-tests")
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
PAIRS = int(os.environ.get("PAIRS", "5"))
SCRATCH = pathlib.Path(os.environ.get("SCRATCH", "/dev/shm")) / "mdl-bench"


def peak_memory(pid):
    """VmHWM in MiB; 0 of a process that has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def run(*command, env=None, cwd=None):
    """Runs a command; gives its output, seconds, and peak memory in MiB."""
    started = time.monotonic()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, **(env or {})}, cwd=cwd, text=True)
    samples, ended = [0], threading.Event()

    def sample():
        while not ended.wait(0.02):
            samples.append(peak_memory(process.pid))

    threading.Thread(target=sample, daemon=True).start()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    ended.set()
    if status:
        sys.exit(f"{' '.join(str(part) for part in command)}\n{output[-3000:]}")
    # The kernel counts this Python's own memory as its child's: below that only the samples tell.
    peak = usage.ru_maxrss / 1024
    return output, seconds, peak if peak > 1.2 * peak_memory("self") else max(samples)


def pairs(ours, theirs, figure):
    """Medians of both figures and of the ratio, over alternating pairs."""
    rows = []
    for number in range(PAIRS):
        order = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        got = {call: figure(call()) for call in order}
        rows.append((got[ours], got[theirs]))
    return (statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows),
            statistics.median(row[1] / row[0] for row in rows))


def table(headings, rows):
    print("| " + " | ".join(headings) + " |\n|" + " --- |" * len(headings), flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
