#!/usr/bin/env bash
# containerd, driven by its own tool.
. "$(dirname "$0")/steps.sh"

callers_log() { journal -u containerd | grep -v level=info; }
clean_up() {
    for id in $(ctr task ls -q); do ctr task delete --force "$id"; done
    systemctl stop containerd
    rm -rf /var/lib/containerd /run/containerd
}
# The flags of `ctr run` for our runtime, without and with a scope of systemd's.
if [[ $RUNTIME == *shim* ]]; then
    echo 'SystemdCgroup = true' >/run/orlop-shim.toml
    plainly() { echo --runtime io.containerd.orlop.v2; }
    ours() { echo $(plainly) --runtime-config-path /run/orlop-shim.toml --cgroup "machine.slice:ctr:$1"; }
else
    plainly() { echo --runc-binary "$RUNTIME"; }
    ours() { echo $(plainly) --runc-systemd-cgroup --cgroup "machine.slice:ctr:$1"; }
fi
status() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
# The exit code that ctr reports of a stopped container, which is deleted.
ended_with() { ctr task delete "$1" 2>&1 | grep "exit code $2\""; ctr container delete "$1"; }
is() { [ "$(status "$1")" = "$2" ]; }
of_scope() { systemctl show -p "$2" --value "ctr-$1.scope"; }

step "containerd starts, an image is imported"
systemctl start containerd
ctr image import "$IMAGES/box.tar"
remember
box=docker.io/library/box:latest

step "run, with the program's output and exit code"
code=0
out=$(ctr run --rm $(ours one) $box one sh -c 'echo hello; exit 7') || code=$?
[ "$out" = hello ]
[ "$code" = 7 ]

step "run without systemd"
[ / = "$(ctr run --rm $(plainly) --cgroup /plain $box plain sh -c 'cd /; pwd')" ]

step "run -d, in a scope of systemd's"
ctr run -d $(ours two) --memory-limit 33554432 $box two sh -c 'trap "exit 3" TERM; while :; do sleep 1; done'
is two RUNNING
[ "$(of_scope two ActiveState)" = active ]

step "its cgroup has all controllers"
[ "$(cat "/sys/fs/cgroup$(of_scope two ControlGroup)/cgroup.controllers")" = "$(cat /sys/fs/cgroup/cgroup.controllers)" ]

step "a memory limit"
[ "$(of_scope two MemoryMax)" = 33554432 ]
[ "$(cat "/sys/fs/cgroup$(of_scope two ControlGroup)/memory.max")" = 33554432 ]

step "exec, with its output and exit code"
code=0
out=$(ctr task exec --exec-id first two sh -c 'cat /proc/1/comm; exit 4') || code=$?
[ "$out" = sh ]
[ "$code" = 4 ]
[ "$(echo fed | ctr task exec --exec-id second two cat)" = fed ]

step "exec of a program that is not there"
out=$(fails ctr task exec --exec-id third two /bin/none 2>&1)
[[ $out == *"no such file or directory"* ]]

step "ps, metrics"
ctr task ps two | grep "$(ctr task ls | awk '$1 == "two" { print $2 }')"
ctr task metrics two | grep '^memory.usage_limit *33554432'

step "pause and resume"
ctr task pause two
is two PAUSED
ctr task resume two
is two RUNNING

step "kill with a signal that the program takes, delete"
ctr task kill -s TERM two
eventually is two STOPPED
ended_with two 3
[ "$(of_scope two ActiveState)" = inactive ]

step "kill with KILL, delete"
ctr run -d $(ours three) $box three sleep 1000
ctr task kill -s KILL three
eventually is three STOPPED
ended_with three 137

step "run out of memory"
code=0
ctr run --rm $(ours four) --memory-limit 16777216 $box four dd if=/dev/zero of=/dev/null bs=64M count=1 || code=$?
[ "$code" = 137 ]

step "run with a tty"
out=$(in_terminal ctr run --rm -t $(ours five) $box five tty)
[[ $out == */dev/pts/0* ]]

step "exec with a tty"
ctr run -d $(ours six) $box six sleep 1000
out=$(in_terminal ctr task exec -t --exec-id tty six tty)
[[ $out == */dev/pts/* ]]

step "checkpoint and restore of a container"
ctr events >/run/ctr-events & events=$!
ctr run -d $(ours saved) $box saved sh -c "$COUNT"
count() { ctr task exec --exec-id look saved cat /count; }
eventually at_least 5 count
ctr container checkpoint --rw --task --image saved saved-images
ctr task kill -s KILL saved
eventually is saved STOPPED
ctr task delete saved || true
ctr container delete saved
# containerd's own shim sends no event.
[[ $RUNTIME != *shim* ]] || eventually grep -F ' /tasks/checkpointed ' /run/ctr-events
kill $events
ctr container restore --live --rw saved saved-images
eventually is saved RUNNING
first=$(count)
[ "$first" -ge 5 ]
eventually at_least $((first + 1)) count
ctr task kill -s KILL saved
eventually is saved STOPPED
ctr task delete saved || true
ctr container delete saved
ctr image delete saved-images

step "a checkpoint that fails: criu's log is in the bundle"
bundle=/run/containerd/io.containerd.runtime.v2.task/default/ghost
# criu saves no deleted file of more than 1 MiB that is open.
ghost='exec 3>/ghost; dd if=/dev/zero bs=1M count=4 >&3; rm /ghost; while :; do sleep 1; done'
flags=$(ours ghost)
if [[ $RUNTIME == *shim* ]]; then
    echo 'CriuWorkPath = "/run/criu-work"' | cat /run/orlop-shim.toml - >/run/orlop-criu.toml
    flags=${flags/orlop-shim.toml/orlop-criu.toml}
fi
ctr run -d $flags $box ghost sh -c "$ghost"
eventually ctr task exec --exec-id look ghost sh -c '[ "$(busybox stat -L -c %s /proc/1/fd/3)" = 4194304 ] && [ ! -e /ghost ]'
fails ctr container checkpoint --rw --task --image ghost ghost-images
grep -i ghost $bundle/criu-dump.log
if [[ $RUNTIME == *shim* ]]; then
    cmp /run/criu-work/dump.log $bundle/criu-dump.log
    rm -r /run/criu-work
else
    [ -d $bundle/work ]
fi
is ghost RUNNING
ctr task kill -s KILL ghost
eventually is ghost STOPPED
ctr task delete ghost || true
ctr container delete ghost

step "delete by force"
ctr task delete --force six || true
ctr container delete six
[ -z "$(ctr container ls -q)" ]

step "nothing is left"
nothing_left
