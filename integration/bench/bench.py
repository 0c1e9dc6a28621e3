#!/usr/bin/python3
"""Measures runtimes beside each other and prints a table. Called by bench.sh, which says where and why.

Every round runs each runtime once, in turn, so that whatever else the machine does hits all of them. The numbers to
compare are the ratios of medians of one run; the milliseconds are this machine's on this day.
"""

import json
import os
import random
import re
import statistics
import subprocess
import sys
import time

from plot import bars

ROOT, DIRECTORY = sys.argv[1:]
ROUNDS = int(os.environ.get("ROUNDS", "60"))
MANY = int(os.environ.get("MANY", "1000"))
# Those that are there. `before` is an older orlop, where BEFORE named one, and `glibc` the same orlop with glibc.
OTHER_ORLOPS = {"before": "/bench/before", "glibc": "/bench/glibc"}
COLOURS = {"floor": "#999999", "orlop": "#0b6e99", "before": "#8fc1d4", "glibc": "#5fa3bf", "crun": "#d9a441",
           "runc": "#b5482f"}
RUNTIMES = {"orlop": "/bench/orlop"} | OTHER_ORLOPS | {"crun": "/usr/bin/crun", "runc": "/usr/sbin/runc"}


def inside(*command):
    """The command in the Debian where all runtimes find their libraries."""
    return ["chroot", ROOT, *command]


def measure(*command):
    """What `measure` says of a command: wall and CPU time, peak memory, page faults."""
    # Standard error is not read: a created container keeps it open.
    done = subprocess.run(inside("/bench/measure", *command), stdout=subprocess.PIPE, text=True)
    words = done.stdout.split()
    if len(words) != 5 or words[0] != "0":
        sys.exit(f"{' '.join(command)} failed: {done.stdout}")
    return dict(zip(("wall", "cpu", "memory", "faults"), map(int, words[1:])))


def total(parts):
    """Several commands as one: times and faults add up, memory is that of the greatest."""
    result = {key: sum(part[key] for part in parts) for key in ("wall", "cpu", "faults")}
    return result | {"memory": max(part["memory"] for part in parts)}


def bundle(name, change=lambda config: None, program="true"):
    """A bundle for all: what `orlop spec` writes, and a change to it."""
    path = f"{ROOT}/bench/{name}"
    os.makedirs(path, exist_ok=True)
    if os.path.exists(f"{path}/config.json"):
        os.remove(f"{path}/config.json")
    subprocess.run(inside("/bench/orlop", "spec", "--bundle", f"/bench/{name}"), check=True)
    with open(f"{path}/config.json") as file:
        config = json.load(file)
    config["process"] |= {"terminal": False, "args": [program] + (["100000"] if program == "sleep" else [])}
    config["root"]["path"] = "/bench/rootfs"
    config["ociVersion"] = "1.1.0"
    change(config)
    with open(f"{path}/config.json", "w") as file:
        json.dump(config, file)
    return f"/bench/{name}"


def with_filter(config):
    """A filter of the shape and the size of Docker's: what the kernel has is allowed by name, some by argument."""
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h") as file:
        names = re.findall(r"#define __NR_(\w+)", file.read())
    by_argument = ["personality", "clone", "socket"]
    config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": [name for name in names if name not in by_argument], "action": "SCMP_ACT_ALLOW"}]
        + [
            {
                "names": [name],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": value, "valueTwo": 0, "op": op}],
            }
            for name, value, op in [
                ("personality", 0, "SCMP_CMP_EQ"),
                ("personality", 8, "SCMP_CMP_EQ"),
                ("personality", 0xFFFFFFFF, "SCMP_CMP_EQ"),
                ("clone", 0x7E020000, "SCMP_CMP_MASKED_EQ"),
                ("socket", 40, "SCMP_CMP_NE"),
            ]
        ],
    }


def with_mounts(config):
    """Two hundred binds of directories."""
    source = f"{ROOT}/bench/source"
    os.makedirs(source, exist_ok=True)
    config["root"]["readonly"] = False
    config["mounts"] += [
        {"destination": f"/m/{n}", "source": "/bench/source", "type": "bind", "options": ["bind", "nosuid", "ro"]}
        for n in range(200)
    ]


def run(path):
    return lambda name, program: measure(program, "run", "--bundle", path, f"{name}-run")


def life(path):
    def once(name, program):
        box = f"{name}-life"
        return total([
            measure(program, "create", "--bundle", path, box),
            measure(program, "start", box),
            measure(program, "delete", "--force", box),
        ])
    return once


def calls(program, *command):
    """System calls of the command and all its children."""
    subprocess.run(["strace", "-f", "-qq", "-o", f"{DIRECTORY}/strace", *inside(program, *command)],
                   stdout=subprocess.DEVNULL, check=True)
    with open(f"{DIRECTORY}/strace") as file:
        lines = [line for line in file if "resumed>" not in line and " +++ " not in line and " --- " not in line]
    # Without those of chroot(1) itself, up to its execve of the program.
    begin = next((n for n, line in enumerate(lines) if f'execve("{program}"' in line), 0)
    return len(lines) - begin


def in_turn(runtimes, once, rounds=ROUNDS):
    """Rounds of every runtime; the first is for warming up and not counted. The order is another one in each round,
    since what ran before a runtime may leave it warm caches."""
    samples = {name: [] for name in runtimes}
    for number in range(rounds + 1):
        for name in random.Random(number).sample(sorted(runtimes), len(runtimes)):
            sample = once(name, runtimes[name])
            if number:
                samples[name].append(sample)
    return samples


def summary(samples):
    def column(key):
        return [sample[key] for sample in samples]
    return {
        "wall median": statistics.median(column("wall")),
        "wall minimum": min(column("wall")),
        "cpu median": statistics.median(column("cpu")),
        "memory": max(column("memory")),
        "faults": statistics.median(column("faults")),
    }


def main():
    runtimes = {name: program for name, program in RUNTIMES.items() if os.path.exists(ROOT + program)}
    plain, sleeper = bundle("plain"), bundle("sleeper", program="sleep")
    results = {}

    def record(what, samples, command=None):
        results[what] = {name: summary(of) for name, of in samples.items()}
        for name, program in runtimes.items() if command else ():
            results[what][name]["calls"] = calls(program, *(command(name) if callable(command) else command))
        show(what, results[what])

    def floor(_name, program):
        return measure(program, "/bench/rootfs", "/sys/fs/cgroup/bench-floor", "/bin/true")

    def floor_or_run(name, program):
        return floor(name, program) if name == "floor" else run(plain)(name, program)

    record("run", in_turn({"floor": "/bench/floor"} | runtimes, floor_or_run), ["run", "--bundle", plain, "counted"])
    results["run"]["floor"]["calls"] = calls("/bench/floor", "/bench/rootfs", "/sys/fs/cgroup/bench-floor", "/bin/true")
    record("create, start, delete", in_turn(runtimes, life(plain)))
    path = bundle("filter", with_filter)
    record("run with a filter", in_turn(runtimes, run(path)), ["run", "--bundle", path, "counted"])
    path = bundle("mounts", with_mounts)
    record("run with 200 mounts", in_turn(runtimes, run(path), ROUNDS // 3), ["run", "--bundle", path, "counted"])

    for name, program in runtimes.items():
        measure(program, "run", "--detach", "--bundle", sleeper, f"{name}-sleeper")
    record("exec", in_turn(runtimes, lambda name, program: measure(program, "exec", f"{name}-sleeper", "/bin/true")),
           lambda name: ["exec", f"{name}-sleeper", "/bin/true"])
    record("state", in_turn(runtimes, lambda name, program: measure(program, "state", f"{name}-sleeper")),
           lambda name: ["state", f"{name}-sleeper"])
    for name, program in runtimes.items():
        measure(program, "delete", "--force", f"{name}-sleeper")

    # The same for all the containers that there are already: what one costs must not grow with their number.
    for name in OTHER_ORLOPS:  # they keep their containers where orlop does
        runtimes.pop(name, None)
    created = {name: [measure(program, "create", "--bundle", plain, f"{name}-{number}") for number in range(MANY)]
               for name, program in runtimes.items()}
    record(f"list of {MANY}", in_turn(runtimes, lambda name, program: measure(program, "list"), ROUNDS // 3),
           lambda name: ["list"])
    deleted = {name: [measure(program, "delete", "--force", f"{name}-{number}") for number in range(MANY)]
               for name, program in runtimes.items()}
    part = max(MANY // 10, 1)
    record(f"create, the first {part}", {name: samples[:part] for name, samples in created.items()})
    record(f"create, the last {part} of {MANY}", {name: samples[-part:] for name, samples in created.items()})
    record(f"delete, the first {part} of {MANY}", {name: samples[:part] for name, samples in deleted.items()})
    record(f"delete, the last {part}", {name: samples[-part:] for name, samples in deleted.items()})

    with open(f"{DIRECTORY}/results.json", "w") as file:
        json.dump({"date": time.strftime("%Y-%m-%d"), "rounds": ROUNDS, "results": results}, file, indent=1)
    with open(f"{DIRECTORY}/plot.svg", "w") as file:
        rows = {what: {name: values["cpu median"] for name, values in of.items()} for what, of in results.items()}
        file.write(bars("CPU time, orlop = 1", COLOURS, rows, "orlop"))


def show(what, of):
    """One table: a row for each program, times in milliseconds, ratios to orlop's."""
    ours = of["orlop"]
    print(f"\n### {what}\n")
    print("| | wall, median | minimum | CPU | × orlop, wall | CPU | peak memory, KiB | page faults | system calls |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, values in of.items():
        print(f"| {name} | {values['wall median'] / 1000:.2f} ms | {values['wall minimum'] / 1000:.2f} ms "
              f"| {values['cpu median'] / 1000:.2f} ms | {values['wall median'] / ours['wall median']:.2f} "
              f"| {values['cpu median'] / ours['cpu median']:.2f} | {values['memory']} | {values['faults']:.0f} "
              f"| {values.get('calls', '')} |", flush=True)


main()
