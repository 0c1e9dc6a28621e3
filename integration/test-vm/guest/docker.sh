#!/usr/bin/env bash
# Docker's engine, with our runtime among those of its configuration.
. "$(dirname "$0")/steps.sh"

# Our own is configured by the file of the manual, as it is.
name=tested
[[ $RUNTIME != */orlop ]] || name=orlop
run() { docker run --runtime $name "$@"; }
status() { docker inspect --format '{{.State.Status}}' "$1"; }
is() { [ "$(status "$1")" = "$2" ]; }
limit() { cat "/sys/fs/cgroup$(cut -d : -f 3 "/proc/$(docker inspect --format '{{.State.Pid}}' "$1")/cgroup")/$2"; }
callers_log() { journal -u docker | grep -v level=info; }
clean_up() {
    docker rm -f $(docker ps -aq)
    systemctl stop docker.service docker.socket containerd.service
    rm -rf /var/lib/docker /run/docker /var/lib/containerd /run/containerd
}

step "the engine starts, an image is loaded"
mkdir -p /etc/docker
tested="{ \"path\": \"$RUNTIME\" }"
if [[ $RUNTIME == *shim* ]]; then
    # Docker gives options of its own type to other shims than runc's: the path of a file.
    echo "SystemdCgroup = true" >/etc/docker/orlop.toml
    tested='{ "runtimeType": "io.containerd.orlop.v2", "options": { "ConfigPath": "/etc/docker/orlop.toml" } }'
fi
jq --argjson tested "$tested" '.runtimes.tested = $tested |
    . + { "exec-opts": ["native.cgroupdriver=systemd"], bridge: "none", iptables: false }
' "$CONTRIB/docker/daemon.json" >/etc/docker/daemon.json
systemctl start docker
docker load -q -i "$IMAGES/box.tar"
remember
box=box:latest

step "run, with the program's output and exit code"
code=0
out=$(run --rm $box sh -c 'echo hello; exit 7') || code=$?
[ "$out" = hello ]
[ "$code" = 7 ]

step "run of a program that is not there"
code=0
run --rm $box /bin/none || code=$?
[ "$code" = 127 ]

step "run --tty"
[[ $(run --rm --tty $box tty) == /dev/* ]]

step "run --detach --init with limits"
run -d --init --name one --memory 64m --pids-limit 50 --cpus 0.5 --security-opt no-new-privileges \
    $box sh -c 'trap "exit 3" TERM; while :; do sleep 1; done'
is one running
[ "$(limit one memory.max)" = 67108864 ]
[ "$(limit one pids.max)" = 50 ]
[ "$(limit one cpu.max)" = "50000 100000" ]

step "exec, with its input, output and exit code"
code=0
out=$(docker exec one sh -c 'hostname; exit 4') || code=$?
[ "$out" = "$(docker inspect --format '{{.Config.Hostname}}' one)" ]
[ "$code" = 4 ]
[ "$(echo fed | docker exec -i one cat)" = fed ]
[[ $(docker exec --tty one tty) == /dev/pts/* ]]

step "pause and unpause"
docker pause one
is one paused
docker unpause one
is one running

step "update, stats, top"
docker update --memory 96m --memory-swap 96m one
[ "$(limit one memory.max)" = 100663296 ]
docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' one | grep '^one .*96MiB'
docker top one | grep sleep

step "stop with a signal that the program takes, start again, kill"
docker stop one
[ "$(docker inspect --format '{{.State.ExitCode}}' one)" = 3 ]
docker start one
is one running
docker kill one
[ "$(docker wait one)" = 137 ]
docker rm one

step "read-only, a user, a tmpfs, a volume"
[ "$(run --rm --read-only --user 1000:1000 --tmpfs /tmp -v /etc/hostname:/name:ro $box \
    sh -c 'touch /tmp/x && ! touch /x 2>/dev/null && cat /name && id -u')" = "$(printf 'test-machine\n1000')" ]

step "nothing is left"
run -d $box sleep 1000
docker rm -f $(docker ps -aq)
nothing_left
