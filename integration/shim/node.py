"""A node without a kubelet: containerd with its CRI plugin, runtime handlers, an image, and the calls of the CRI. Pods
use the host's network, so no CNI plugin is needed. Read by soak.py and integration/bench/cri.py, as root, where
/run/containerd is a tmpfs of their own."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time

import api_pb2
import grpc

WORK = "/run/containerd/work"
IMAGE = "docker.io/library/box:latest"
PAUSE = "registry.k8s.io/pause:3.8"
SOCKET = "/run/containerd/containerd.sock"
V1 = "/sys/fs/cgroup/cpuacct"
RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100),
             ("grpc.min_reconnect_backoff_ms", 100)]

CONFIG = f"""version = 2
root = "{WORK}/root"
state = "/run/containerd/state"
[plugins."io.containerd.internal.v1.opt"]
path = "{WORK}/opt"
[plugins."io.containerd.nri.v1.nri"]
disable = true
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "{WORK}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "DEFAULT"
"""

# containerd 1.6 finds a shim by its type alone: there a runtime_path changes nothing.
HANDLER = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes."{name}"]
runtime_type = "{type}"
"""
BINARY = """[plugins."io.containerd.grpc.v1.cri".containerd.runtimes."{name}".options]
BinaryName = "{runtime}"
"""

SECCOMP = {"profile_type": api_pb2.SecurityProfile.RuntimeDefault}


class Failed(Exception):
    pass


class Node:
    """`cgroup` is where containerd, its shims and the pods are; `handlers` are words like NAME=TYPE[,RUNTIME]."""

    def __init__(self, cgroup, handlers):
        self.cgroup = cgroup
        self.home = f"{V1}/{cgroup}" if os.path.isdir(V1) else f"/sys/fs/cgroup/{cgroup}"
        os.makedirs(f"{self.home}/daemon", exist_ok=True)
        os.makedirs(f"{WORK}/pods")
        services = api_pb2.DESCRIPTOR.services_by_name.values()
        self.methods = {method.name: method for service in services for method in service.methods}
        self.channel = grpc.insecure_channel(f"unix://{SOCKET}", RECONNECT)
        self.handlers = []
        with open(f"{WORK}/config.toml", "w") as config:
            config.write(CONFIG.replace("DEFAULT", handlers[0].partition("=")[0]))
            for word in handlers:
                name, _, rest = word.partition("=")
                kind, _, runtime = rest.partition(",")
                config.write(HANDLER.format(name=name, type=kind))
                if runtime:
                    config.write(BINARY.format(name=name, runtime=runtime))
                self.handlers.append(name)

    def begin(self):
        """Starts containerd."""
        words = ["sh", "-c", 'echo 0 >"$0" && exec containerd -c "$1"', f"{self.home}/daemon/cgroup.procs",
                 f"{WORK}/config.toml"]
        with open(f"{WORK}/containerd.log", "ab") as log:
            self.daemon = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while True:
            try:
                return self.call("Version")
            except grpc.RpcError:
                if self.daemon.poll() is not None or time.monotonic() > until:
                    raise SystemExit("containerd does not answer\n" + self.log())
                time.sleep(0.05)

    def end(self):
        self.daemon.terminate()
        self.daemon.wait()

    def log(self):
        with open(f"{WORK}/containerd.log") as log:
            lines = [line for line in log if "level=info" not in line]
        return "".join(lines[-30:])

    def import_image(self):
        """One layer with busybox, under two names: the pod's first process is a `sleep`, too."""
        os.makedirs(f"{WORK}/rootfs/bin")
        shutil.copy(shutil.which("busybox"), f"{WORK}/rootfs/bin/busybox")
        for name in ("sh", "sleep", "true"):
            os.symlink("busybox", f"{WORK}/rootfs/bin/{name}")
        with tarfile.open(f"{WORK}/layer.tar", "w") as layer:
            layer.add(f"{WORK}/rootfs", ".")
        with open(f"{WORK}/layer.tar", "rb") as layer:
            digest = hashlib.sha256(layer.read()).hexdigest()
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        config = {"architecture": machine, "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000"]},
                  "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}
        manifest = [{"Config": "config.json", "RepoTags": [IMAGE, PAUSE], "Layers": ["layer.tar"]}]
        for name, value in (("config.json", config), ("manifest.json", manifest)):
            with open(f"{WORK}/{name}", "w") as file:
                json.dump(value, file)
        with tarfile.open(f"{WORK}/image.tar", "w") as image:
            for name in ("manifest.json", "config.json", "layer.tar"):
                image.add(f"{WORK}/{name}", name)
        subprocess.run(["ctr", "-n", "k8s.io", "images", "import", f"{WORK}/image.tar"], check=True,
                       stdout=subprocess.DEVNULL)

    def call(self, name, **request):
        method = self.methods[name]
        return self.channel.unary_unary(
            f"/{method.containing_service.full_name}/{name}",
            request_serializer=method.input_type._concrete_class.SerializeToString,
            response_deserializer=method.output_type._concrete_class.FromString,
        )(method.input_type._concrete_class(**request), timeout=120)

    def pod(self, handler, name):
        """The configuration of a pod, and its id."""
        config = {
            "metadata": {"name": name, "uid": name, "namespace": "default"}, "log_directory": f"{WORK}/pods/{name}",
            "labels": {"pod": name},
            "linux": {
                "cgroup_parent": f"/{self.cgroup}/pods",
                "security_context": {"namespace_options": {"network": api_pb2.NODE}, "seccomp": SECCOMP},
            },
        }
        return config, self.call("RunPodSandbox", config=config, runtime_handler=handler).pod_sandbox_id

    def container(self, pod, name):
        """Creates a container of a pod, as the kubelet asks for it, and starts it. Its id."""
        config, sandbox = pod
        id = self.call("CreateContainer", pod_sandbox_id=sandbox, sandbox_config=config, config={
            "metadata": {"name": name}, "image": {"image": IMAGE}, "log_path": f"{name}.log",
            "linux": {
                "resources": {"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512, "oom_score_adj": 900},
                "security_context": {
                    "namespace_options": {"network": api_pb2.NODE, "pid": api_pb2.CONTAINER}, "seccomp": SECCOMP,
                    "capabilities": {"drop_capabilities": ["NET_RAW"]}, "no_new_privs": True,
                    "masked_paths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
                    "readonly_paths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                },
            },
        }).container_id
        self.call("StartContainer", container_id=id)
        return id

    def up(self, handler, name):
        """A pod with two containers: its sandbox's id, and theirs."""
        pod = self.pod(handler, name)
        return pod[1], [self.container(pod, name) for name in ("first", "second")]

    def exec(self, container):
        code = self.call("ExecSync", container_id=container, cmd=["true"], timeout=60).exit_code
        if code:
            raise Failed(f"`true` ended with {code}")

    def parent(self, sandbox):
        """The pid of the process that a pod's first process is a child of: its shim's daemon."""
        info = self.call("PodSandboxStatus", pod_sandbox_id=sandbox, verbose=True).info["info"]
        with open(f"/proc/{json.loads(info)['pid']}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("PPid:"))

    def down(self, sandbox):
        self.call("StopPodSandbox", pod_sandbox_id=sandbox)
        self.call("RemovePodSandbox", pod_sandbox_id=sandbox)
