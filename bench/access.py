"""What accounts cost a request: a registry with 10,000 accounts and keys, 10,000 repositories and 1,000 policy lines
against one without accounts, over one connection each, in alternating requests. Once with an audit log that has what is
read, once with one that has not, and once with a trust policy that every manifest has to satisfy.

    python access.py

Needs `cargo build --release -p mdl`. SCRATCH (default /dev/shm) is where data go.
"""

import contextlib
import hashlib
import http.client
import json
import random
import shutil
import socket
import statistics
import subprocess
import time

from common import RELEASE, SCRATCH, table

MDL = RELEASE / "mdl"
COUNT, LINES, REQUESTS = 10_000, 1_000, 4_000
KEYS = [f"hf_{number:040d}" for number in range(COUNT)]
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []})


def repository(number):
    return f"team-{number % LINES}/model-{number}"


class Registry:
    def __init__(self, name, policy):
        folder = SCRATCH / name
        (folder / "data").mkdir(parents=True)
        (folder / "trust.toml").write_text('[[rule]]\nrepositories = ["**"]\nthreshold = 0\n')
        (folder / "registry.toml").write_text('[access_log]\nto = "off"\n' + policy)
        if policy:
            users = {f"user-{number}": {"admin": number == 0} for number in range(COUNT)}
            keys = {f"key-{number}": {"user": f"user-{number}", "sha256": hashlib.sha256(key.encode()).hexdigest()}
                    for number, key in enumerate(KEYS)}
            (folder / "data/accounts.json").write_text(json.dumps({"version": 1, "users": users, "keys": keys}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [MDL, "registry", "serve", "--listen", f"127.0.0.1:{port}", "--root", folder / "data", "--config",
             folder / "registry.toml", "--home", folder / "home"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(self, method, path, key, body=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if body:
            headers["Content-Type"] = "application/vnd.oci.image.index.v1+json"
        began = time.perf_counter()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - began


def main():
    rows = []
    for name, settings in (("accounts", ""), ("accounts, pulls not in the log", "[audit]\npulls = false\n"),
                           ("accounts and a trust policy", '[audit]\npulls = false\n[trust]\npolicy = "trust.toml"\n')):
        rows += measured(name, settings)
    table(("registry with", "request", "with", "without", "difference"), rows)
    shutil.rmtree(SCRATCH, ignore_errors=True)


def measured(name, settings):
    shutil.rmtree(SCRATCH, ignore_errors=True)
    # Each account may read one team's repositories; the line that decides is anywhere among them.
    lines = "".join(f'[[policy]]\nrepositories = ["team-{number}/**"]\nsubjects = ["user-{number}", "user-{number + LINES}"]\n'
                    'actions = ["pull"]\n' for number in range(LINES))
    guarded, bare = Registry("guarded", lines + settings), Registry("bare", "")
    for number in range(COUNT):
        for registry, key in ((guarded, KEYS[0]), (bare, None)):
            status, _ = registry.ask("PUT", f"/v2/{repository(number)}/manifests/v1", key, MANIFEST)
            assert status == 201, status
    rng, rows = random.Random(1), []
    for label, user_of, expected in (("allowed", lambda team: team, 200), ("refused", lambda team: (team + 7) % LINES, 404)):
        with_accounts, without = [], []
        for _ in range(REQUESTS):
            number = rng.randrange(COUNT)
            path = f"/v2/{repository(number)}/manifests/v1"
            status, seconds = guarded.ask("GET", path, KEYS[user_of(number % LINES) or LINES])
            assert status == expected, (status, expected)
            with_accounts.append(seconds)
            without.append(bare.ask("GET", path, None)[1])
        mine, other = statistics.median(with_accounts) * 1e6, statistics.median(without) * 1e6
        rows.append((name, label, f"{mine:.0f} us", f"{other:.0f} us", f"{mine - other:+.0f} us"))
    for registry in (guarded, bare):
        registry.process.terminate()
        registry.process.wait()
    return rows


if __name__ == "__main__":
    main()
