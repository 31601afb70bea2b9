"""Signing, verifying and bundles: mdl against model_signing, oras, and the limits that SHA-256 and the disk set.

    python trust.py sign       signing and verifying a package, small and of 2 GiB (GIB): seconds beyond the network
    python trust.py folder     verify PATH against model_signing and SHA-256 on all cores (openssl, one process a file)
    python trust.py import     bundle import against SHA-256 on one core, cp, and `oras cp` between layouts

Needs `cargo build --release -p mdl`, `tests/scripts/cache.sh clients signing` and openssl. Ratios above 1 mean that mdl is
the better. PAIRS (default 5) sets the number of pairs, SCRATCH (default /dev/shm) where files go.
"""

import os
import shutil
import sys

from common import CACHE, PAIRS, RELEASE, SCRATCH, pairs, run, table

MDL = RELEASE / "mdl"
ORAS = CACHE / "clients/oras-1.3.6/oras"
MODEL_SIGNING = CACHE / "venv-signing-1.1.1-11.12.0/bin/model_signing"
GIB = float(os.environ.get("GIB", "2"))
ENV = {"MDL_KEY_PASSPHRASE": "secret"}


def mdl(*arguments, home="home"):
    return run(MDL, *arguments, "--home", SCRATCH / home, "--quiet", env=ENV, cwd=SCRATCH)


def fresh():
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", SCRATCH / "key.pem")
    run("openssl", "ec", "-in", SCRATCH / "key.pem", "-pubout", "-out", SCRATCH / "key.pub")


def weights(name, files, size):
    """A folder of some files of random bytes."""
    folder = SCRATCH / name
    folder.mkdir()
    block = os.urandom(1 << 20)
    for number in range(files):
        with open(folder / f"model-{number}.safetensors", "wb") as out:
            for at in range(int(size / files) >> 20):
                out.write(at.to_bytes(8, "little") + block[8:])
    return folder


def sign():
    fresh()
    rows = []
    for label, size in (("8 MiB", 8 << 20), (f"{GIB:g} GiB", GIB * 2**30)):
        folder = weights(label.replace(" ", ""), 4, size)
        mdl("pack", "--link", folder, f"acme/{label.split()[0]}:v1")
        for what, *command in (("sign", "sign", "--key", "key.pem"), ("verify", "verify", "--local", "--key", "key.pub")):
            seconds = sorted(mdl(command[0], f"acme/{label.split()[0]}:v1", *command[1:])[1] for _ in range(3 * PAIRS))
            nothing = sorted(run(MDL, "--version")[1] for _ in range(3 * PAIRS))
            rows.append((label, what, f"{seconds[len(seconds) // 2] * 1e3:.1f} ms", f"{nothing[len(nothing) // 2] * 1e3:.1f} ms"))
        shutil.rmtree(folder)
    table(("package", "work", "mdl, whole program", "`mdl --version`"), rows)


def folder():
    fresh()
    model = weights("model", 8, GIB * 2**30)
    run(MODEL_SIGNING, "sign", "key", model, "--private_key", SCRATCH / "key.pem", "--signature", model / "model.sig")

    def ours():
        return mdl("verify", model, "--key", "key.pub")

    def signing():
        return run(MODEL_SIGNING, "verify", "key", model, "--signature", model / "model.sig", "--public_key", SCRATCH / "key.pub")

    def hashes():
        return run("sh", "-c", f"ls {model}/*.safetensors | xargs -P {os.cpu_count()} -n 1 openssl dgst -sha256")

    rows = []
    for label, theirs in (("model_signing verify", signing), ("openssl dgst, a process a file", hashes)):
        mine, other, ratio = pairs(ours, theirs, lambda got: got[1])
        memory, _, _ = pairs(ours, theirs, lambda got: got[2])
        rows.append((label, f"{mine:.2f} s", f"{other:.2f} s", f"{ratio:.2f}", f"{memory:.0f} MiB"))
    table((f"verify a folder of {GIB:g} GiB in 8 files, against", "mdl", "peer", "ratio", "mdl's memory"), rows)


def take_in():
    fresh()
    model = weights("model", 1, GIB * 2**30)
    mdl("pack", "--link", model, "acme/model:v1")
    mdl("sign", "acme/model:v1", "--key", "key.pem")
    mdl("bundle", "create", "acme/model:v1", "--out", "bundle")
    shutil.rmtree(model)
    (SCRATCH / "site").mkdir()
    (SCRATCH / "site/trust.toml").write_text('[[rule]]\nrepositories = ["**"]\nkeys = ["../key.pub"]\n')
    layer = max((SCRATCH / "bundle/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)

    def ours():
        shutil.rmtree(SCRATCH / "site/store", ignore_errors=True)
        return mdl("bundle", "import", "bundle", home="site")

    def hashed():
        return run("openssl", "dgst", "-sha256", layer)

    def copied():
        return run("sh", "-c", f"cp {layer} {SCRATCH}/copy && rm {SCRATCH}/copy")

    def oras():
        shutil.rmtree(SCRATCH / "layout", ignore_errors=True)
        digest = next(line for line in (SCRATCH / "bundle/mdl-bundle.json").read_text().splitlines() if '"digest"' in line).split('"')[3]
        return run(ORAS, "cp", "-r", "--from-oci-layout", "--to-oci-layout", f"{SCRATCH}/bundle@{digest}", f"{SCRATCH}/layout:v1")

    rows = []
    for label, theirs in (("SHA-256 on one core (openssl)", hashed), ("cp", copied), ("oras cp, which verifies no signature", oras)):
        mine, other, ratio = pairs(ours, theirs, lambda got: got[1])
        memory, _, _ = pairs(ours, theirs, lambda got: got[2])
        rows.append((label, f"{mine:.2f} s", f"{other:.2f} s", f"{ratio:.2f}", f"{memory:.0f} MiB"))
    table((f"import of one file of {GIB:g} GiB, against", "mdl", "peer", "ratio", "mdl's memory"), rows)


if __name__ == "__main__":
    work = {"sign": sign, "folder": folder, "import": take_in}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if work is None:
        sys.exit(__doc__)
    work()
    shutil.rmtree(SCRATCH, ignore_errors=True)
