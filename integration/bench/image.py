#!/usr/bin/python3
"""Measures `orlop image` and prints tables: `run` of an image that is in the store, beside the runtime's own `run` of the
same image unpacked; `unpack` of a large image, beside umoci and tar. Called by image.sh, which says where and why.

Every round runs each once, in turn, so that whatever else the machine does hits all of them.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile

ORLOP, IMAGE, DIRECTORY, MEMORY = sys.argv[1:]
MEASURE = f"{DIRECTORY}/measure"
ROUNDS = int(os.environ.get("ROUNDS", "100"))
UNPACKS = int(os.environ.get("UNPACKS", "5"))
LAYERS = 6


def blob(place, content, kind):
    """Stores a blob of the layout; gives its descriptor."""
    name = hashlib.sha256(content).hexdigest()
    with open(f"{place}/layout/blobs/sha256/{name}", "wb") as file:
        file.write(content)
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(content)}


def layer(number):
    """The lowest holds busybox, the others some files each."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        if number == 0:
            archive.add(os.environ["BUSYBOX"], "bin/true")
            for name in ("dev", "proc", "sys"):
                directory = tarfile.TarInfo(name)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(directory)
        for at in range(20):
            file = tarfile.TarInfo(f"usr/share/layer{number}/file{at}")
            file.size = 1000
            archive.addfile(file, io.BytesIO(bytes([number]) * 1000))
    return out.getvalue()


def layout(place):
    os.makedirs(f"{place}/layout/blobs/sha256")
    tars = [layer(number) for number in range(LAYERS)]
    config = {
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["true"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]},
    }
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(place, json.dumps(config).encode(), "config.v1+json"),
        "layers": [blob(place, gzip.compress(tar, mtime=0), "layer.v1.tar+gzip") for tar in tars],
    }
    index = {"schemaVersion": 2, "manifests": [blob(place, json.dumps(manifest).encode(), "manifest.v1+json")]}
    with open(f"{place}/layout/index.json", "w") as file:
        json.dump(index, file)
    with open(f"{place}/layout/oci-layout", "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)


def measure(*command):
    """What `measure` says of a command: wall and CPU time in microseconds, peak memory in KiB, page faults."""
    done = subprocess.run([MEASURE, *command], stdout=subprocess.PIPE, text=True)
    words = done.stdout.split()
    if len(words) != 5 or words[0] != "0":
        sys.exit(f"{' '.join(command)} failed: {done.stdout}")
    return {"wall": int(words[1]), "cpu": int(words[2]), "memory": int(words[3]), "faults": int(words[4])}


def unpacking():
    """Of DIRECTORY/debian, an image of one layer in gzip, into memory: the disk is the same for all, and in the way."""
    with open(f"{DIRECTORY}/debian/index.json") as file:
        manifest = json.load(file)["manifests"][0]["digest"].replace(":", "/")
    with open(f"{DIRECTORY}/debian/blobs/{manifest}") as file:
        layers = [layer["digest"].replace(":", "/") for layer in json.load(file)["layers"]]
    to = "/run/unpacked"
    tar = ["tar", "--extract", "--gzip", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*",
           "--directory", to, "--file", f"{DIRECTORY}/debian/blobs/{layers[0]}"]
    programs = {
        "orlop image unpack": [IMAGE, "unpack", f"oci:{DIRECTORY}/debian", to, "--runtime", ORLOP],
        "umoci unpack": ["umoci", "unpack", "--image", f"{DIRECTORY}/debian:debian", to],
        "tar": tar,
    }
    samples = {name: [] for name in programs}
    for number in range(UNPACKS + 1):
        for name, command in programs.items():
            if name == "tar":
                os.mkdir(to)
            sample = measure(*command)
            shutil.rmtree(to)
            if number:
                samples[name].append(sample)
    size = sum(os.path.getsize(f"{DIRECTORY}/debian/blobs/{layer}") for layer in layers)
    print(f"\nunpack: {size >> 20} MiB in gzip, {UNPACKS} rounds\n")
    print("| | wall, median | minimum | CPU, median | ÷ orlop, wall | minimum | CPU | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    ours = samples["orlop image unpack"]
    for name, of in samples.items():
        def ratio(how, key, of=of):
            return how(sample[key] for sample in of) / how(sample[key] for sample in ours)
        print(f"| {name} | {statistics.median(sample['wall'] for sample in of) / 1e6:.2f} s "
              f"| {min(sample['wall'] for sample in of) / 1e6:.2f} s "
              f"| {statistics.median(sample['cpu'] for sample in of) / 1e6:.2f} s "
              f"| {ratio(statistics.median, 'wall'):.2f} | {ratio(min, 'wall'):.2f} | {ratio(statistics.median, 'cpu'):.2f} "
              f"| {max(sample['memory'] for sample in of) / 1024:.0f} |", flush=True)


def running(place, where):
    """With the store in the directory `place`."""
    layout(place)
    source = f"oci:{place}/layout"
    subprocess.run([IMAGE, "unpack", source, f"{place}/bundle", "--runtime", ORLOP], check=True)
    with open(f"{place}/bundle/config.json", "r+") as file:
        config = json.load(file)
        config["process"]["terminal"] = False
        file.seek(0)
        file.truncate()
        json.dump(config, file)
    run = [IMAGE, "run", "--store", f"{place}/store", "--runtime", ORLOP, source]
    programs = {
        "orlop run": [ORLOP, "run", "--bundle", f"{place}/bundle", "bench-plain"],
        "orlop image run": run,
        "orlop-image --version": [IMAGE, "--version"],
    }
    samples = {name: [] for name in programs}
    # The first fills the store and the caches.
    for number in range(ROUNDS + 1):
        for name, command in programs.items():
            sample = measure(*command)
            if number:
                samples[name].append(sample)
    own = samples["orlop run"]
    print(f"\nrun: {LAYERS} layers, {ROUNDS} rounds, the store {where}\n")
    print("| | wall, median | minimum | CPU, median | more than orlop run: wall, median | minimum | CPU | memory, KiB | page faults |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, of in samples.items():
        def column(key, of=of):
            return [sample[key] for sample in of]
        def more(how, key, of=of):
            return (how(sample[key] for sample in of) - how(sample[key] for sample in own)) / 1000
        print(f"| {name} | {statistics.median(column('wall')) / 1000:.2f} ms | {min(column('wall')) / 1000:.2f} ms "
              f"| {statistics.median(column('cpu')) / 1000:.2f} ms | {more(statistics.median, 'wall'):+.2f} ms "
              f"| {more(min, 'wall'):+.2f} ms | {more(statistics.median, 'cpu'):+.2f} ms | {max(column('memory'))} "
              f"| {statistics.median(column('faults')):.0f} |")


# Before all others of the machine: what is measured takes milliseconds.
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
running(MEMORY, "on an ext4 in memory")
running(f"{DIRECTORY}/run", "on the disk")
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
unpacking()
