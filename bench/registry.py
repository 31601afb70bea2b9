"""Registries side by side: mdl to its own server against oras to the CNCF distribution registry, in alternating pairs.

    python registry.py big      one blob of 2 GiB (GIB), pushed and pulled, everything in memory
    python registry.py huge     one sparse blob of 16 GiB (GIB) on disk, by mdl alone: time and memory
    python registry.py small    1,000 pulls of a manifest and its blob of 1 MiB by 32 clients at once

Needs `cargo build --release --workspace` and `tests/scripts/cache.sh clients`. Ratios above 1 mean that mdl is the better.
PAIRS (default 5) sets the number of pairs, SCRATCH (default /dev/shm) where the files of `big` and `small` go, DISK (default
the working folder) those of `huge`. Each measurement has a fresh server with empty data; its CPU is user and system time,
its memory VmHWM.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from common import CACHE, PAIRS, RELEASE, SCRATCH, peak_memory, run, table

MDL = RELEASE / "mdl"
ORAS = CACHE / "clients/oras-1.3.6/oras"
DISTRIBUTION = CACHE / "clients/distribution-3.1.2/registry"
TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


class Server:
    """A registry with fresh data, and what it used."""

    def __init__(self, kind, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        if kind == "mdl":
            (folder / "registry.toml").write_text('[access_log]\nto = "off"\n')
            command = [MDL, "registry", "serve", "--listen", self.host, "--root", folder / "data", "--config",
                       folder / "registry.toml", "--home", folder / "home"]
        else:
            (folder / "config.yml").write_text(
                "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  cache:\n    blobdescriptor: inmemory\n"
                f"  filesystem:\n    rootdirectory: {folder}/data\nhttp:\n  addr: {self.host}\n")
            command = [DISTRIBUTION, "serve", folder / "config.yml"]
        self.folder = folder
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
        for _ in range(500):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{self.host}/v2/").read()
                return
            time.sleep(0.02)
        self.stop()
        sys.exit(f"{kind} does not answer")

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak(self):
        return peak_memory(self.process.pid)

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def serving(kind, folder):
    server = Server(kind, folder)
    try:
        yield server
    finally:
        server.stop()


def noise(path, size):
    """A file that no file system makes smaller."""
    if path.exists() and path.stat().st_size == size:
        return
    generator = random.Random(1)
    with open(path, "wb") as file:
        for _ in range(0, size, MIB):
            file.write(generator.randbytes(min(MIB, size)))


def transfer(kind, file):
    """Pushes and pulls once; seconds, CPU and memory of both ways."""
    home = {"MDL_HOME": str(SCRATCH / "home")}
    out = SCRATCH / "out"
    shutil.rmtree(out, ignore_errors=True)
    with serving(kind, SCRATCH / "server") as server:
        name = f"{server.host}/bench/blob:v1"
        if kind == "mdl":
            push = [MDL, "push", file, name, "--quiet"]
            pull = [MDL, "pull", name, "--to", out, "--quiet"]
        else:
            push = [ORAS, "push", "--plain-http", "--disable-path-validation", name, file.name]
            pull = [ORAS, "pull", "--plain-http", "-o", out, name]
        before = server.cpu()
        _, pushed, push_peak = run(*push, env=home, cwd=file.parent)
        between = server.cpu()
        _, pulled, pull_peak = run(*pull, env=home)
        found = dict(push=pushed, pull=pulled, push_cpu=between - before, pull_cpu=server.cpu() - between,
                     server=server.peak(), client=max(push_peak, pull_peak))
    assert (out / file.name).stat().st_size == file.stat().st_size
    shutil.rmtree(out)
    return found


def big():
    size = int(os.environ.get("GIB", "2")) << 30
    file = SCRATCH / "blob.bin"
    noise(file, size)
    # Its digest is known, as that of a file that mdl has just written.
    run(MDL, "pack", file, "warm/up:v1", "--link", env={"MDL_HOME": str(SCRATCH / "home")})
    got = []
    for number in range(PAIRS):
        order = ("mdl", "distribution") if number % 2 == 0 else ("distribution", "mdl")
        got.append({kind: transfer(kind, file) for kind in order})
    rows = []
    for what, unit in (("push", "s"), ("pull", "s"), ("push_cpu", "s"), ("pull_cpu", "s"), ("server", "MiB"), ("client", "MiB")):
        mine = statistics.median(pair["mdl"][what] for pair in got)
        peer = statistics.median(pair["distribution"][what] for pair in got)
        ratio = statistics.median(pair["distribution"][what] / pair["mdl"][what] for pair in got)
        rows.append((what.replace("_", ", server's ") + f", {unit}", f"{mine:.2f}", f"{peer:.2f}", f"{ratio:.2f}"))
    table(("", "mdl to mdl", "oras to distribution", "ratio"), rows)


def huge():
    size = int(os.environ.get("GIB", "16")) << 30
    disk = pathlib.Path(os.environ.get("DISK", ".")).resolve() / "mdl-bench-huge"
    disk.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(disk).free < 2.2 * size:
        sys.exit(f"{disk}: {2.2 * size / 2**30:.0f} GiB are needed; DISK names another folder")
    file = disk / "blob.bin"
    with open(file, "wb") as made:
        made.truncate(size)
    try:
        with serving("mdl", disk / "server") as server:
            name = f"{server.host}/bench/huge:v1"
            home = {"MDL_HOME": str(disk / "home")}
            _, pushed, push_peak = run(MDL, "push", file, name, "--quiet", env=home)
            _, pulled, pull_peak = run(MDL, "pull", name, "--to", disk / "out", "--quiet", env=home)
            assert (disk / "out/blob.bin").stat().st_size == size
            table(("GiB", "push s (hashing included)", "pull s", "server MiB", "client MiB, push", "client MiB, pull"),
                  [(size >> 30, f"{pushed:.0f}", f"{pulled:.0f}", f"{server.peak():.0f}", f"{push_peak:.0f}", f"{pull_peak:.0f}")])
    finally:
        shutil.rmtree(disk)


def small():
    file = SCRATCH / "small.bin"
    noise(file, MIB)
    got = []
    for number in range(PAIRS):
        pair = {}
        for kind in (("mdl", "distribution") if number % 2 == 0 else ("distribution", "mdl")):
            with serving(kind, SCRATCH / "server") as server:
                name = f"{server.host}/bench/small:v1"
                run(ORAS, "push", "--plain-http", name, file.name, cwd=SCRATCH)
                output, _, _ = run(RELEASE / "pull_rate", server.host, "bench/small", "v1", 1000, 32)
                pair[kind] = json.loads(output) | {"cpu": server.cpu(), "server": server.peak()}
        got.append(pair)
    rows = []
    for what, unit in (("rate", "pulls/s"), ("median", "ms"), ("p99", "ms"), ("cpu", "s"), ("server", "MiB")):
        ratios = [pair["mdl"][what] / pair["distribution"][what] for pair in got]
        ratio = statistics.median(ratios if what == "rate" else [1 / ratio for ratio in ratios])
        rows.append((f"{what}, {unit}", *(f"{statistics.median(pair[kind][what] for pair in got):.2f}" for kind in ("mdl", "distribution")),
                     f"{ratio:.2f}"))
    table(("", "mdl", "distribution", "ratio"), rows)


def main():
    commands = dict(big=big, huge=huge, small=small)
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    commands[sys.argv[1]]()


main()
