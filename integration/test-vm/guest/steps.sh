# Read by the test of each caller. A test is a list of named steps; the first one that fails ends it, and what that step
# did and printed is shown. RUNTIME is the path of the runtime under test.
set -euo pipefail
shopt -s inherit_errexit

steps_log=$(mktemp)
exec 3>&1 >>"$steps_log" 2>&1
set -x
step_name="before the first step"
steps_began=$EPOCHREALTIME
step_began=$EPOCHREALTIME
trap 'ended $?' EXIT

# What the machine's journal has of a caller since the test began.
journal() {
    journalctl -q -o cat --since "@${steps_began%.*}" "$@"
}

# Ends the step before, and begins one.
step() {
    { set +x; } 2>/dev/null
    passed
    step_name=$*
    step_began=$EPOCHREALTIME
    : >"$steps_log"
    set -x
}

passed() {
    local tenths=$(((${EPOCHREALTIME/./} - ${step_began/./}) / 100000))
    [ "$step_name" = "before the first step" ] ||
        printf 'ok %3d.%d s  %s\n' $((tenths / 10)) $((tenths % 10)) "$step_name" >&3
}

ended() {
    { set +x; } 2>/dev/null
    if [ "$1" = 0 ]; then
        passed
    else
        echo "FAIL $step_name" >&3
        tail -n 40 "$steps_log" | cut -c -400 | sed 's/^/     | /' >&3
        if declare -F callers_log >/dev/null; then
            callers_log 2>&1 | tail -n 20 | cut -c -400 | sed 's/^/     : /' >&3
        fi
    fi
    if declare -F clean_up >/dev/null; then
        clean_up >/dev/null 2>&1 || true
    fi
    rm -f "$steps_log"
}

# Waits until a command succeeds.
eventually() {
    for _ in $(seq 150); do
        ! "$@" || return 0
        sleep 0.2
    done
    "$@"
}

# A program that counts in its file /count. Who reads the file sees a whole number at any moment.
COUNT='i=0; while :; do echo $((i = i + 1)) >/count.new; mv /count.new /count; sleep 0.2; done'

# Succeeds if the number that a command prints is at least $1.
at_least() {
    local least=$1 number
    number=$("${@:2}") && [ "$number" -ge "$least" ]
}

# Succeeds if a command does not.
fails() {
    if "$@"; then return 1; fi
}

# A command with a terminal; its output has the terminal's line ends.
in_terminal() {
    SHELL=/bin/bash script -qec "$(printf '%q ' "$@")" /dev/null
}

# What containers are made of, as seen from the host: processes, mounts, cgroups, links, state. Not the mount that
# Podman makes for all network namespaces together, and not the cgroups of the machine's services.
look() (
    set +e
    ps -eo comm= | grep -E '^(orlop|runc|conmon|containerd-shim|catatonit|busybox)' | sed 's/^/process /'
    findmnt -rno TARGET | grep -vx /run/netns | sed 's/^/mount /'
    find /sys/fs/cgroup -type d | grep -vE '/system\.slice/[^/]*\.service|\.service$' | sed 's/^/cgroup /'
    ip -o link | cut -d : -f 2 | sed 's/^/link/'
    # Of the callers' own directories those of single containers: the ones above stay.
    for state in /run/{orlop,runc,netns,user/1000/orlop,user/1000/runc}/* /run/containerd/{s,fifo}/* \
        /run/containerd/{runc,io.containerd.runtime.v2.task,io.containerd.grpc.v1.cri}/*/* \
        /run/docker/containerd/* /run/docker/runtime-*/*/*; do
        [ ! -e "$state" ] || echo "state $state"
    done
    true
) 2>/dev/null

# The slice is systemd's own, and stays when the first container has been in it.
remember() {
    [ $UID != 0 ] || systemctl start machine.slice
    look | sort >"$steps_log.before"
}

# What was not there at `remember` is a leftover. systemd and the callers take a moment to remove theirs.
nothing_left() {
    for _ in $(seq 50); do
        look | sort | comm -13 "$steps_log.before" - >"$steps_log.left"
        [ -s "$steps_log.left" ] || return 0
        sleep 0.2
    done
    cat "$steps_log.left"
    return 1
}
