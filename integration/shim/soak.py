"""One pod's shim for long, from soak.sh: `soak.py NAME=TYPE[,RUNTIME]`.

A steady pod takes EXECS execs while PODS other pods are made and removed, and containerd is stopped and started again
every minute. What fails because of that is tried again; any other error ends it. The shim's memory, descriptors and
zombies must be at the end what they were at the beginning, and nothing may be left."""

import glob
import itertools
import os
import sys
import threading
import time

import grpc

from node import Failed, Node

PODS = int(os.environ.get("PODS", "1000"))
EXECS = int(os.environ.get("EXECS", "20000"))
EVERY = int(os.environ.get("EVERY", "60")) # seconds
MEMORY = 64 # kB that may be added: 3 bytes for each of 20,000 execs
INTERRUPTED = 2 # kB more for each that was tried again: containerd forgets that exec, so the shim has to keep it
PROGRAM = 512 # kB that may be added to Pss: pages of the program come in as its code runs, and may be shared
COLUMNS = ("minutes", "execs", "pods", "again", "restarts", "Pss, kB", "RssAnon, kB", "descriptors", "zombies")


class Soak:
    def __init__(self, node):
        self.node = node
        self.handler = node.handlers[0]
        self.lock = threading.Lock()
        self.ready = threading.Event() # containerd is not being restarted
        self.ready.set()
        self.restarts = self.execs = self.pods = self.again = 0
        self.error = None
        self.began = time.monotonic()

    def attempt(self, work):
        """Whether it worked. That it did not is an error if containerd was not restarted meanwhile."""
        self.ready.wait()
        restarts = self.restarts
        try:
            work()
            return True
        except (grpc.RpcError, Failed):
            if self.ready.is_set() and self.restarts == restarts:
                raise
            with self.lock:
                self.again += 1
            return False

    def exec(self, container):
        while not self.attempt(lambda: self.node.exec(container)):
            pass
        with self.lock:
            self.execs += 1

    def pod(self, number):
        """Made and removed; one that was interrupted is removed, and another one made, as the kubelet does."""
        for attempt in itertools.count():
            name = f"pod-{number}-{attempt}"
            def whole():
                sandbox, containers = self.node.up(self.handler, name)
                self.node.exec(containers[1])
                self.node.down(sandbox)
            def rest():
                for sandbox in self.node.call("ListPodSandbox", filter={"label_selector": {"pod": name}}).items:
                    self.node.down(sandbox.id)
            if self.attempt(whole):
                break
            while not self.attempt(rest):
                pass
        with self.lock:
            self.pods += 1

    def restart(self):
        self.ready.clear()
        self.node.end()
        self.node.begin()
        self.restarts += 1
        self.ready.set()

    def thread(self, work, numbers):
        def run():
            try:
                for number in numbers:
                    if self.error:
                        return
                    work(number)
            except BaseException as error:
                self.error = self.error or error
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def work(self, container, execs, pods):
        """Two threads of execs, one of pods; this one restarts containerd."""
        numbers = iter(range(execs))
        each = iter(lambda: self.next(numbers), None)
        threads = [self.thread(lambda _: self.exec(container), each) for _ in range(2)]
        threads.append(self.thread(self.pod, range(self.pods, self.pods + pods)))
        restart = time.monotonic() + EVERY
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.2)
            if time.monotonic() > restart and not self.error:
                self.show()
                self.restart()
                restart = time.monotonic() + EVERY
        if self.error:
            raise self.error

    def next(self, numbers):
        with self.lock:
            return next(numbers, None)

    def show(self):
        sample = self.sample()
        minutes = (time.monotonic() - self.began) / 60
        cells = [f"{minutes:.1f}", self.execs, self.pods, self.again, self.restarts, *sample]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        return sample

    def sample(self):
        values = {}
        for name in ("smaps_rollup", "status"):
            for line in open(f"/proc/{self.daemon}/{name}"):
                key, _, value = line.partition(":")
                values[key] = value.split()[0] if value.split() else ""
        descriptors = len(os.listdir(f"/proc/{self.daemon}/fd"))
        seen = self.zombies()
        time.sleep(1) # those that it is about to reap
        return int(values["Pss"]), int(values["RssAnon"]), descriptors, len(seen & self.zombies())

    def zombies(self):
        return {pid for pid, state, parent in processes() if state == "Z" and parent == self.daemon}

    def left(self):
        """What there still is of pods and shims."""
        found = [f"process {pid}" for pid, _, _ in processes() if pid not in (1, os.getpid(), self.node.daemon.pid)]
        found += [f"mount {line.split()[1]}" for line in open("/proc/self/mounts") if "/run/containerd/" in line]
        for pods in glob.glob(f"/sys/fs/cgroup/{self.node.cgroup}/pods") + \
                glob.glob(f"/sys/fs/cgroup/*/{self.node.cgroup}/pods"):
            found += [f"cgroup {path}" for path, _, _ in os.walk(pods) if path != pods]
        for path in ("s", "runc/k8s.io", "state/io.containerd.runtime.v2.task/k8s.io"):
            if os.path.isdir(f"/run/containerd/{path}"):
                found += [f"state {path}/{name}" for name in os.listdir(f"/run/containerd/{path}")]
        found += [f"sandbox {one.id}" for one in self.node.call("ListPodSandbox").items]
        found += [f"container {one.id}" for one in self.node.call("ListContainers").containers]
        return found


def processes():
    """Of this pid namespace: pid, state, parent."""
    for name in os.listdir("/proc"):
        try:
            if name.isdigit():
                state, parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[:2]
                yield int(name), state, int(parent)
        except (FileNotFoundError, ProcessLookupError):
            pass # it has ended


def main():
    node = Node("orlop-soak", sys.argv[1:])
    node.begin()
    node.import_image()
    soak = Soak(node)
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    try:
        sandbox, containers = node.up(soak.handler, "steady")
        soak.daemon = node.parent(sandbox)
        soak.work(containers[0], 200, 3) # to warm up
        soak.restart()
        soak.work(containers[0], 50, 0)
        before = soak.show()
        soak.work(containers[0], EXECS, PODS)
        after = soak.show()
        node.down(sandbox)
        # A shim to which containerd did not connect, because it was stopped meanwhile, ends after half a minute.
        for _ in range(400):
            left = soak.left()
            if not left:
                break
            time.sleep(0.1)
    except BaseException:
        print(node.log())
        raise
    node.end()
    memory = MEMORY + INTERRUPTED * soak.again
    faults = [f"left: {thing}" for thing in left]
    for name, first, last, more in zip(COLUMNS[5:], before, after, (PROGRAM, memory, 0, 0)):
        if last > first + more:
            faults.append(f"{name}: {first} before, {last} after")
    print("\n".join(faults) or "flat, and nothing is left")
    sys.exit(bool(faults))


main()
