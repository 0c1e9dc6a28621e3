#!/usr/bin/env bash
# Podman with systemd's cgroups, as root or as an ordinary user.
. "$(dirname "$0")/steps.sh"

# Our own is known by name, by the file of contrib that job.sh has installed.
name=$RUNTIME
[[ $RUNTIME != */orlop ]] || name=orlop
p() { podman --runtime "$name" --cgroup-manager systemd --events-backend file "$@"; }
status() { p inspect --format '{{.State.Status}}' "$1"; }
is() { [ "$(status "$1")" = "$2" ]; }
cgroup() { echo "/sys/fs/cgroup$(cut -d : -f 3 "/proc/$(p inspect --format '{{.State.Pid}}' "$1")/cgroup")"; }
limit() { cat "$(cgroup "$1")/$2"; }
callers_log() { journal -t conmon; }
clean_up() {
    p rm -af -t 0
    p pod rm -af
    p image rm -af
    podman system migrate # ends the process that holds the user namespace of an ordinary user
}

step "an image is loaded"
p load -q -i "$IMAGES/box.tar"
remember
box=docker.io/library/box:latest

step "run, with the program's output and exit code"
code=0
out=$(p run --rm --network none $box sh -c 'echo hello; exit 7') || code=$?
[ "$out" = hello ]
[ "$code" = 7 ]

step "run of a program that is not there, or cannot be executed"
code=0
p run --rm --network none $box /bin/none || code=$?
[ "$code" = 127 ]
code=0
p run --rm --network none $box /etc/passwd || code=$?
[ "$code" = 126 ]

step "run --tty"
[[ $(p run --rm --network none --tty $box tty) == /dev/* ]]
# With an input that stays open: at its end script(1) types ^D. When that is left unread, Podman takes the reset of
# conmon's socket for the end, and may show nothing of a program that is over at once.
[[ $(in_terminal podman --runtime "$name" run --rm --network none -it $box tty <> <(:)) == */dev/* ]]

step "run --detach with limits and a network"
p run -d --name one --memory 64m --pids-limit 50 --cpus 0.5 --health-cmd 'test -e /healthy' \
    --health-interval disable $box sh -c 'trap "exit 3" TERM; while :; do sleep 1; done'
is one running
[ "$(limit one memory.max)" = 67108864 ]
[ "$(limit one pids.max)" = 50 ]
[ "$(limit one cpu.max)" = "50000 100000" ]
[[ $(cgroup one) == */libpod-*.scope* ]]

step "exec, with its input, output and exit code"
code=0
out=$(p exec one sh -c 'cat /proc/1/comm; exit 4') || code=$?
[ "$out" = sh ]
[ "$code" = 4 ]
[ "$(echo fed | p exec -i one cat)" = fed ]
[[ $(p exec --tty one tty) == /dev/pts/* ]]

step "exec of what is no program"
for path in /etc/passwd /etc; do
    code=0
    p exec one $path || code=$?
    # Of a directory runc says only that it is one, for which Podman exits with 255.
    [ "$code" = 126 ] || [[ $path == /etc && $RUNTIME == */runc ]]
done

step "healthcheck, which is an exec"
fails p healthcheck run one
p exec one touch /healthy
p healthcheck run one

step "pause and unpause"
p pause one
is one paused
[ "$(limit one cgroup.freeze)" = 1 ]
p unpause one
is one running

step "update"
p update --memory 96m one
[ "$(limit one memory.max)" = 100663296 ]

step "stats, top"
p stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' one | grep -E '^one [1-9].*100\.7MB'
p top one comm | grep sh

step "stop with a signal that the program takes, start again, kill"
p stop one
[ "$(p inspect --format '{{.State.ExitCode}}' one)" = 3 ]
p start one
is one running
p kill one
[ "$(p wait one)" = 137 ]
p rm one

step "run out of memory"
code=0
p run --rm --network none --memory 16m --memory-swap 16m $box dd if=/dev/zero of=/dev/null bs=64M count=1 || code=$?
[ "$code" = 137 ]

step "a user namespace of its own"
p run --rm --network none --uidmap 0:1000:1000 $box sh -c 'cat /proc/self/uid_map; id -u' | tr -s ' ' >"$steps_log.map"
grep -qE '1000$' "$steps_log.map"
grep -qx 0 "$steps_log.map"
rm "$steps_log.map"

if [ "$(id -u)" = 0 ]; then
    step "checkpoint and restore"
    p run -d --name saved --network none $box sh -c "$COUNT"
    count() { p exec saved cat /count; }
    eventually at_least 5 count
    p container checkpoint saved
    is saved exited
    [ "$(p inspect --format '{{.State.Checkpointed}}' saved)" = true ]
    p container restore saved
    is saved running
    first=$(count)
    [ "$first" -ge 5 ]
    eventually at_least $((first + 1)) count
    p rm -f -t 0 saved
fi

step "a pod, whose containers share namespaces by path"
p pod create --name pod --share ipc,net,uts,pid --hostname boxes --network none
p run -d --pod pod --name first $box sleep 1000
p run -d --pod pod --name second $box sleep 1001
[ "$(p exec second hostname)" = boxes ]
p exec second ps | grep 'sleep 1000'
p pod stats --no-stream | grep first
p pod pause pod
is first paused
p pod unpause pod
p pod stop -t 0 pod
p pod rm pod

step "nothing is left after rm -af"
p run -d --network none $box sleep 1000
p rm -af -t 0
p pod rm -af
nothing_left
