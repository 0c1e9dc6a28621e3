#!/usr/bin/python3
"""The smallest memory limit at which `run true` works, for each runtime. Called by bench.sh.

A limit works when every one of ROUNDS runs does. Two things that make it a matter of luck are kept out. All is done on
one CPU: the kernel puts up to 64 pages aside for the cgroup on every CPU that it runs on, and takes them back only after
it has killed; CPUS=all shows that luck. And the program is read before each run: what a container reads from the disk is
charged to it, and a small limit drops it from the page cache again, so the runs after one that failed would pay for it.
The table shows the limits around the smallest one, and how many runs worked.
"""

import json
import os
import subprocess
import sys

ROOT, DIRECTORY = sys.argv[1:]
ROUNDS = int(os.environ.get("ROUNDS", "30"))
RUNTIMES = {"orlop": "/bench/orlop", "crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"}
BUNDLE = "/bench/memory"
PAGE = 4  # KiB


def inside(*command):
    return ["chroot", ROOT, *command]


def prepare():
    """The bundle that `orlop spec` writes, for `true`."""
    os.makedirs(ROOT + BUNDLE, exist_ok=True)
    if os.path.exists(f"{ROOT}{BUNDLE}/config.json"):
        os.remove(f"{ROOT}{BUNDLE}/config.json")
    subprocess.run(inside("/bench/orlop", "spec", "--bundle", BUNDLE), check=True)
    with open(f"{ROOT}{BUNDLE}/config.json") as file:
        config = json.load(file)
    config["process"] |= {"terminal": False, "args": ["true"]}
    config["root"]["path"] = "/bench/rootfs"
    config["ociVersion"] = "1.1.0"
    return config


def works(config, name, program, limit):
    """How many of ROUNDS runs work with a limit of so many KiB."""
    config["linux"]["resources"]["memory"] = {"limit": limit * 1024}
    with open(f"{ROOT}{BUNDLE}/config.json", "w") as file:
        json.dump(config, file)
    count = 0
    for _ in range(ROUNDS):
        with open(f"{ROOT}/bench/rootfs/bin/busybox", "rb") as file:
            file.read()
        done = subprocess.run(inside(program, "run", "--bundle", BUNDLE, f"{name}-memory"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            count += 1
        else:
            subprocess.run(inside(program, "delete", "--force", f"{name}-memory"), stderr=subprocess.DEVNULL)
    return count


def smallest(config, name, program):
    """The counts, by limit, of a search that ends at the smallest limit that always works."""
    low, high, counts = 0, PAGE, {}
    while counts.setdefault(high, works(config, name, program, high)) < ROUNDS:
        low, high = high, high * 2
        if high > 1 << 20:
            sys.exit(f"{name} does not work at all")
    while high - low > PAGE:
        middle = (low + high) // 2 // PAGE * PAGE
        counts[middle] = works(config, name, program, middle)
        if counts[middle] == ROUNDS:
            high = middle
        else:
            low = middle
    return high, counts


def main():
    if os.environ.get("CPUS") != "all":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    config = prepare()
    print(f"| | smallest limit, KiB | others: runs of {ROUNDS} that worked |")
    print("|---|---|---|")
    for name, program in RUNTIMES.items():
        if os.path.exists(ROOT + program):
            limit, counts = smallest(config, name, program)
            others = sorted((other, count) for other, count in counts.items() if limit - 40 <= other <= 2 * limit)
            print(f"| {name} | {limit} | {', '.join(f'{other}: {count}' for other, count in others)} |", flush=True)


main()
