"""Pods by the CRI, in one run: `cri.py NAME=TYPE[,RUNTIME]…`, as root, from cri.sh.

A pod is its sandbox and two containers. Handlers take turns. CPU time is that of containerd, the shims, the runtimes
and the containers: they are in one cgroup. Wall time is what the client waits. Ratios are what counts."""

import os
import statistics
import subprocess
import sys
import time

import grpc

from node import V1, Node

ROUNDS = int(os.environ.get("ROUNDS", "20"))
EXECS = 5 # a pod
COLUMNS = ("pod up", "ExecSync", "pod down")


def version(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]


class Measured:
    def __init__(self, node):
        self.node = node
        self.times = {name: {column: [] for column in COLUMNS} for name in node.handlers}

    def cpu(self):
        """Milliseconds."""
        if self.node.home.startswith(V1):
            return int(open(f"{self.node.home}/cpuacct.usage").read()) / 1e6
        return int(open(f"{self.node.home}/cpu.stat").readline().split()[1]) / 1e3

    def settle(self):
        """Waits until the shims have ended: their CPU time counts, too."""
        for _ in range(200):
            if len(open(f"{self.node.home}/daemon/cgroup.procs").read().split()) == 1:
                return
            time.sleep(0.01)

    def one(self, handler, column, work, settle=lambda: None):
        began, before = time.perf_counter(), self.cpu()
        result = work()
        wall = (time.perf_counter() - began) * 1e3
        settle()
        self.times[handler][column].append((wall, self.cpu() - before))
        return result

    def round(self, handler, name):
        sandbox, containers = self.one(handler, "pod up", lambda: self.node.up(handler, name))
        for _ in range(EXECS):
            self.one(handler, "ExecSync", lambda: self.node.exec(containers[0]))
        self.one(handler, "pod down", lambda: self.node.down(sandbox), self.settle)

    def row(self, handler):
        cells = []
        for column in COLUMNS:
            times = self.times[handler][column]
            wall = [wall for wall, _ in times]
            cpu = statistics.fmean(cpu for _, cpu in times)
            cells += [f"{statistics.median(wall):.1f} ({min(wall):.1f})", f"{cpu:.1f}"]
        return f"| {handler} | " + " | ".join(cells) + " |"


def main():
    node = Node("orlop-bench-cri", sys.argv[1:])
    node.begin()
    node.import_image()
    print(version("containerd", "--version"))
    for handler in list(node.handlers):
        try:
            Measured(node).round(handler, f"warm-up-{handler}")
        except grpc.RpcError as error:
            print(f"left out: {handler}, {error.details()}") # such as a crun that is older than containerd
            node.handlers.remove(handler)
    measured = Measured(node)
    for number in range(ROUNDS):
        turn = number % len(node.handlers)
        for handler in node.handlers[turn:] + node.handlers[:turn]:
            measured.round(handler, f"{handler}-{number}")
    node.end()
    print(f"{ROUNDS} pods, {ROUNDS * EXECS} execs for each handler; milliseconds")
    print("| handler | " + " | ".join(f"{column}: wall (least) | CPU" for column in COLUMNS) + " |")
    print("|---|" + "---|---|" * len(COLUMNS))
    for handler in node.handlers:
        print(measured.row(handler))


main()
