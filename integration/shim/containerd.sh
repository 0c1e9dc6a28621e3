#!/usr/bin/env bash
# The shim under a real containerd, natively: `containerd.sh SHIM [CONTAINERD]`, as root. containerd runs in a mount
# namespace of its own, with its directories in memory; the first line that fails ends it.
set -euo pipefail
if [ -z "${INSIDE:-}" ]; then
    INSIDE=1 exec unshare --mount --propagation private "$0" "$(realpath "$1")" "${2:-$(command -v containerd)}"
fi
shim=$1
containerd=$2
bin=$(dirname "$containerd")
. "$(dirname "$(realpath "$0")")"/namespaces.sh
prepare_mounts
export PATH=$bin:$PATH
put_in_path "$shim"
work=/run/containerd/work
mkdir -p $work/{root,image/rootfs/bin}
cat >$work/config.toml <<END
version = 2
root = "$work/root"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"]
END
daemon=
begin() {
    "$containerd" -c $work/config.toml >>$work/log 2>&1 &
    daemon=$!
    for _ in $(seq 200); do ! ctr version >/dev/null 2>&1 || return 0; sleep 0.1; done
    return 1
}
end() { kill $daemon; wait $daemon || true; }
ended() {
    code=$?
    [ $code = 0 ] || { set +x; echo "FAILED: $step"; tail -n 20 $work/log; }
    for id in $(ctr task ls -q); do ctr task delete --force "$id" || true; done
    end
}
trap ended EXIT
step() { step=$*; echo "$*"; }
eventually() {
    for _ in $(seq 100); do ! "$@" || return 0; sleep 0.1; done
    return 1
}
status() { ctr task ls | awk -v id="$1" '$1 == id { print $3 }'; }
is() { [ "$(status "$1")" = "$2" ]; }
run="ctr run --runtime io.containerd.orlop.v2"

step "containerd starts, an image is imported"
begin
cp "$(command -v busybox)" $work/image/rootfs/bin/busybox
for name in sh cat echo sleep head yes wc tty true; do ln -s busybox $work/image/rootfs/bin/$name; done
tar -C $work/image/rootfs -cf $work/layer.tar .
sum=$(sha256sum <$work/layer.tar | cut -c -64)
echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$sum\"]}}" >$work/config.json
echo '[{"Config":"config.json","RepoTags":["docker.io/library/box:latest"],"Layers":["layer.tar"]}]' >$work/manifest.json
tar -C $work -cf $work/box.tar manifest.json config.json layer.tar
ctr image import $work/box.tar >/dev/null
box=docker.io/library/box:latest

step "run: output, exit code, a large output, a terminal, a program that is not there"
code=0
[ "$($run --rm $box one sh -c 'echo hello; exit 7' || echo $?)" = "$(printf 'hello\n7')" ]
[ "$($run --rm $box large sh -c 'yes | head -c 20000000' | wc -c)" = 20000000 ]
[[ $(script -qec "$run --rm -t $box terminal tty" /dev/null </dev/null) == */dev/pts/0* ]]
[[ $($run --rm $box none /bin/none 2>&1 || true) == *"no such file or directory"* ]]
! ctr container info none >/dev/null 2>&1 || ctr container delete none

step "exec: output, exit code, input, a terminal"
$run -d $box two sleep 1000
[ "$(ctr task exec --exec-id a two sh -c 'echo in; exit 4' || echo $?)" = "$(printf 'in\n4')" ]
[ "$(echo fed | ctr task exec --exec-id b two cat)" = fed ]
[[ $(script -qec "ctr task exec -t --exec-id c two tty" /dev/null </dev/null) == */dev/pts/* ]]

step "metrics, ps, pause, resume"
ctr task metrics two | grep -q '^pids.current *1'
ctr task ps two | grep -q "$(ctr task ls | awk '$1 == "two" { print $2 }')"
ctr task pause two
is two PAUSED
ctr task resume two
is two RUNNING

step "containerd is restarted: the container goes on, its end is told"
end
begin
is two RUNNING
[ "$(ctr task exec --exec-id d two echo again)" = again ]
ctr task kill -s KILL two
eventually is two STOPPED
ctr task delete two 2>&1 | grep -q 'exit code 137'
ctr container delete two

# From 1.7 on containerd takes a shim without processes for one that was left over, whoever's it is.
step "containerd is away when a container ends"
$run -d $box three sleep 1000
pid=$(ctr task ls | awk '$1 == "three" { print $2 }')
end
kill -9 "$pid"
begin
over() { is three "" || is three STOPPED; }
eventually over
ctr task delete three >/dev/null 2>&1 || true
ctr container delete three

step "the shim is killed: containerd cleans up"
$run -d $box four sleep 1000
pid=$(ctr task ls | awk '$1 == "four" { print $2 }')
kill -9 "$(awk '/^PPid/ { print $2 }' "/proc/$pid/status")"
eventually is four ""
eventually test ! -e "/proc/$pid"
ctr container delete four

step "nothing is left"
eventually eval '[ -z "$(ls /run/containerd/s)" ]'
[ -z "$(ls /run/containerd/runc/default)" ]
[ -z "$(ls /run/containerd/state/io.containerd.runtime.v2.task/default)" ]
! grep -q "io.containerd.runtime.v2.task" /proc/self/mounts
