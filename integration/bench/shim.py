#!/usr/bin/env python3
"""Shims, driven as containerd drives them, in one run: `shim.py DIRECTORY NAME=SHIM[,RUNTIME]…`, as root.

A lifecycle is `start`, Create, Start, Kill, Wait, Delete, Shutdown and the `delete` that containerd runs afterwards. The
CPU time is that of all processes, the container's too: they are in one cgroup of cpuacct (v1) or of v2. They are driven
in turn, and ratios of medians are what counts. Memory is what one shim adds, its PSS, with few of them running and with
many: what they share is divided."""

import itertools
import json
import os
import random
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time

from plot import bars

ROUNDS = int(os.environ.get("ROUNDS", "30"))
SHIMS = [int(number) for number in os.environ.get("SHIMS", "10 80").split()]
COLOURS = ("#0b6e99", "#8fc1d4", "#d9a441", "#b5482f")
CGROUP = "orlop-bench-shim"
V1 = "/sys/fs/cgroup/cpuacct"
HOME = f"{V1}/{CGROUP}" if os.path.isdir(V1) else f"/sys/fs/cgroup/{CGROUP}"


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    at, found = 0, {}
    def read():
        nonlocal at
        number, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number
    while at < len(data):
        key = read()
        if key & 7 == 0:
            found[key >> 3] = read()
        else:
            length = read()
            found[key >> 3] = data[at:at + length]
            at += length
    return found


class Client:
    def __init__(self, path, version):
        self.service = f"containerd.task.v{version}.Task"
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.stream = 1

    def read(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise ConnectionError("the shim has closed the connection")
            data += more
        return data

    def call(self, method, payload):
        request = field(1, self.service) + field(2, method) + field(3, payload)
        self.socket.sendall(struct.pack(">IIBB", len(request), self.stream, 1, 0) + request)
        self.stream += 2
        length, _, _, _ = struct.unpack(">IIBB", self.read(10))
        answer = fields(self.read(length))
        status = fields(answer.get(1, b""))
        if status.get(1, 0):
            raise SystemExit(f"{method}: {status.get(2, b'').decode()}")
        return fields(answer.get(2, b""))


def take_events(path):
    """containerd, for those who do not work without anybody that takes their events."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1000)
    def serve(connection):
        try:
            while len(header := connection.recv(10, socket.MSG_WAITALL)) == 10:
                length, stream, _, _ = struct.unpack(">IIBB", header)
                connection.recv(length, socket.MSG_WAITALL)
                connection.sendall(struct.pack(">IIBB", 0, stream, 2, 0))
        except ConnectionError:
            pass  # the shim has ended
    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


class Shim:
    def __init__(self, directory, name, shim, runtime):
        self.directory, self.name, self.shim, self.runtime = directory, name, shim, runtime
        self.count = 0

    def bundle(self):
        self.count += 1
        self.id = f"{self.name}-{self.count}"
        bundle = f"{self.directory}/{self.id}"
        os.makedirs(bundle)
        process = {"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        config = {
            "ociVersion": "1.0.2", "process": process, "root": {"path": f"{self.directory}/rootfs"},
            "mounts": [{"destination": f"/{name}", "type": kind, "source": kind}
                       for name, kind in (("proc", "proc"), ("dev", "tmpfs"))],
            "linux": {
                "cgroupsPath": f"/{CGROUP}/{self.id}", "resources": {},
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc", "network")],
            },
        }
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(config, file)
        os.mkfifo(f"{bundle}/log")
        self.log = os.open(f"{bundle}/log", os.O_RDWR | os.O_NONBLOCK)
        return bundle

    def command(self, bundle, action):
        words = [self.shim, "-namespace", "bench", "-id", self.id, "-address", f"{self.directory}/containerd.sock"]
        environment = {**os.environ, "TTRPC_ADDRESS": f"{self.directory}/events.sock", "MAX_SHIM_VERSION": "2"}
        said = subprocess.run(words + [action], cwd=bundle, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if said.returncode:
            raise SystemExit(f"{self.shim} {action}: {said.stderr.decode()}")
        return said.stdout

    def up(self):
        bundle = self.bundle()
        said = self.command(bundle, "start").decode()
        answer = json.loads(said) if said.startswith("{") else {"address": said, "version": 2}
        client = Client(answer["address"].removeprefix("unix://"), answer["version"])
        create = field(1, self.id) + field(2, bundle)
        if self.runtime:
            options = field(1, "containerd.runc.v1.Options") + field(2, field(6, self.runtime))
            create += field(10, options)
        client.call("Create", create)
        client.call("Start", field(1, self.id))
        return client, bundle, self.id, self.log

    def down(self, client, bundle, id, log):
        client.call("Kill", field(1, id) + field(3, 9))
        client.call("Wait", field(1, id))
        client.call("Delete", field(1, id))
        try:
            client.call("Shutdown", field(1, id))
        except ConnectionError:
            pass  # the Go shim may be gone before it has answered
        self.id = id
        self.command(bundle, "delete")
        os.close(log)
        shutil.rmtree(bundle)

    def exec(self, client, id, number):
        process = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
        spec = field(1, "types.containerd.io/opencontainers/runtime-spec/1/Process") + field(2, json.dumps(process))
        name = field(1, id) + field(2, f"e{number}")
        client.call("Exec", name + field(7, spec))
        client.call("Start", name)
        client.call("Wait", name)
        client.call("Delete", name)


def cpu():
    """Milliseconds."""
    if HOME.startswith(V1):
        return int(open(f"{HOME}/cpuacct.usage").read()) / 1e6
    return int(open(f"{HOME}/cpu.stat").readline().split()[1]) / 1e3


def measure(work):
    """Wall time and CPU time without our own, in milliseconds."""
    began, before, mine = time.perf_counter(), cpu(), time.process_time()
    work()
    wall = (time.perf_counter() - began) * 1e3
    return wall, cpu() - before - (time.process_time() - mine) * 1e3


def pss(pid):
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def of_shim(client, id):
    answer = client.call("Connect", field(1, id))
    pid = answer[1]
    return pss(pid), len(os.listdir(f"/proc/{pid}/task"))


def in_turn(rounds, works):
    """Rounds of each work, given by name: wall and CPU times. Whatever else the machine does hits all of them. The
    order is another one in each round, since what ran before a work may leave it warm caches."""
    times = {name: [] for name in works}
    for number in range(rounds):
        for name in random.Random(number).sample(sorted(works), len(works)):
            times[name].append(measure(works[name]))
    return times


def memory(shim):
    """The mean PSS of a shim, for each number of shims, and the threads of the one that has most."""
    ups, means, threads = [], [], 0
    for number in SHIMS:
        ups += [shim.up() for _ in range(number - len(ups))]
        seen = [of_shim(client, id) for client, _, id, _ in ups]
        means.append(statistics.fmean(p for p, _ in seen))
        threads = max(t for _, t in seen)
    for up in ups:
        shim.down(*up)
    return means, threads


def run(shims):
    """Measures all, prints a row for each, and returns the medians of the CPU time."""
    lifecycles = in_turn(ROUNDS, {shim.name: lambda shim=shim: shim.down(*shim.up()) for shim in shims})
    ups = {shim.name: shim.up() for shim in shims}
    numbers = itertools.count()
    execs = in_turn(2 * ROUNDS, {
        shim.name: lambda shim=shim: shim.exec(ups[shim.name][0], ups[shim.name][2], next(numbers)) for shim in shims})
    for shim in shims:
        shim.down(*ups[shim.name])
    rows = {"lifecycle": {}, "exec": {}}
    for shim in shims:
        means, threads = memory(shim)
        cells = []
        for row, times in zip(rows.values(), (lifecycles[shim.name], execs[shim.name])):
            wall, cpu = zip(*times)
            row[shim.name] = statistics.median(cpu)
            cells += [f"{statistics.median(wall):.1f} ({min(wall):.1f})", f"{row[shim.name]:.1f}"]
        cells += [f"{kilobytes:.0f}" for kilobytes in means] + [str(threads)]
        print(f"| {shim.name} | " + " | ".join(cells) + " |", flush=True)
        rows[f"PSS of one of {SHIMS[0]}"] = rows.get(f"PSS of one of {SHIMS[0]}", {}) | {shim.name: means[0]}
    return rows


def main():
    directory = os.path.realpath(sys.argv[1])
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(f"{directory}/rootfs/bin")
    for path in ("proc", "dev"):
        os.mkdir(f"{directory}/rootfs/{path}")
    shutil.copy(shutil.which("busybox"), f"{directory}/rootfs/bin/busybox")
    for name in ("sleep", "true"):
        os.symlink("busybox", f"{directory}/rootfs/bin/{name}")
    take_events(f"{directory}/events.sock")
    os.makedirs(HOME, exist_ok=True)
    with open(f"{HOME}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    print(f"{ROUNDS} lifecycles, {2 * ROUNDS} execs; milliseconds, kB")
    memory = " | ".join(f"PSS of one of {number}" for number in SHIMS)
    print(f"| shim | lifecycle: wall (least) | CPU | exec: wall (least) | CPU | {memory} | threads |")
    print("|---|---|---|---|---|---|" + "---|" * len(SHIMS), flush=True)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        shims = []
        for word in sys.argv[2:]:
            name, _, rest = word.partition("=")
            shim, _, runtime = rest.partition(",")
            shims.append(Shim(directory, name, os.path.realpath(shim), runtime))
        rows = run(shims)
        for what in ("lifecycle", "exec"):
            ratios = [f"{name} {value / rows[what][shims[0].name]:.2f}" for name, value in rows[what].items()]
            print(f"{what}, CPU, as multiples of the first: {', '.join(ratios)}")
        with open(f"{directory}.svg", "w") as file:
            names = [shim.name for shim in shims]
            file.write(bars(f"{names[0]} = 1", dict(zip(names, COLOURS)), rows, names[0], unit=40))
    finally:
        with open(f"{os.path.dirname(HOME)}/cgroup.procs", "w") as file:
            file.write(str(os.getpid()))
        shutil.rmtree(directory, ignore_errors=True)


main()
