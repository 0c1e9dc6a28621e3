#!/usr/bin/env bash
# containerd's CRI plugin, as the kubelet drives it, with the configuration of integration/kubernetes and the handler of
# its RuntimeClass.
. "$(dirname "$0")/steps.sh"
. "$(dirname "$0")/pods.sh"
handler=$(sed -n 's/^handler: //p' "$CONFIG/runtimeclass.yaml" | head -n 1)
[[ $RUNTIME != *shim* ]] || handler=$(sed -n 's/^handler: //p' "$CONFIG/runtimeclass.yaml" | tail -n 1)
[[ $RUNTIME != */runc ]] || handler=runc
pods=/var/log/pods

callers_log() { journal -u containerd | grep -v level=info; }
clean_up() {
    for id in $(ctr -n k8s.io task ls -q); do ctr -n k8s.io task delete --force "$id"; done
    systemctl stop containerd kubepods.slice
    ip link delete cni-test
    rm -rf /var/lib/containerd /run/containerd /var/lib/cni "$pods"
}

step "the sections of contrib are a configuration with a handler orlop"
containerd -c "$CONTRIB/containerd/config-v2.toml" config dump | grep -A 20 'containerd.runtimes.orlop\]' |
    grep 'BinaryName = "/usr/bin/orlop"'

step "containerd starts with the configuration of the manual, images are imported"
cp "$CONFIG/containerd-config.toml" /etc/containerd/config.toml
mkdir -p /etc/cni/net.d "$pods"
cat >/etc/cni/net.d/10-test.conflist <<'END'
{
    "cniVersion": "1.0.0", "name": "test",
    "plugins": [{
        "type": "bridge", "bridge": "cni-test", "isGateway": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.88.0.0/16" }]] }
    }]
}
END
systemctl start containerd kubepods-pod1.slice # the kubelet makes the slice of a pod
ctr -n k8s.io image import "$IMAGES/box.tar"
ctr -n k8s.io image import "$IMAGES/pause.tar"
begin_calls
for condition in RuntimeReady NetworkReady; do
    eventually eval "cri Status {} | jq -e '.status.conditions[] | select(.type == \"$condition\").status'"
done
ip link add cni-test type bridge # the plugin would make it, and leave it
remember

step "a sandbox"
boxes=$(sandbox boxes)
status=$(cri PodSandboxStatus "{\"pod_sandbox_id\": \"$boxes\"}")
[ "$(jq -r .status.state <<<"$status")" = SANDBOX_READY ]
[ "$(jq -r .status.runtime_handler <<<"$status")" = "$handler" ]
[[ $(jq -r .status.network.ip <<<"$status") == 10.88.* ]]

step "two containers"
first=$(container "$boxes" boxes first sh -c 'trap "exit 3" TERM; echo begun; while :; do sleep 1; done')
extra='{ "linux": { "security_context": { "readonly_rootfs": true, "run_as_user": { "value": "1000" } } } }'
second=$(container "$boxes" boxes second sleep 1000)
extra=
state_is "$first" CONTAINER_RUNNING
state_is "$second" CONTAINER_RUNNING
grep -q 'stdout F begun' $pods/first.log

step "they share the namespaces of the pod"
[ "$(run_in "$first" hostname)" = boxes ]
run_in "$first" ps | grep 'sleep 1000'
run_in "$second" ps | grep '/pause'
links='cd /proc/self/ns && readlink net ipc uts pid'
[ "$(run_in "$first" sh -c "$links")" = "$(run_in "$second" sh -c "$links")" ]

step "exec: exit code, user, read-only rootfs, privileges"
code=0
run_in "$first" sh -c 'exit 4' || code=$?
[ "$code" = 4 ]
[ "$(run_in "$second" id -u)" = 1000 ]
fails run_in "$second" touch /x
status=$(run_in "$second" cat /proc/self/status)
grep -qE 'NoNewPrivs:\s1' <<<"$status"
grep -qE 'Seccomp:\s2' <<<"$status"

step "limits, and their update"
[ "$(limit "$first" memory.max)" = 67108864 ]
[ "$(limit "$first" cpu.max)" = "50000 100000" ]
cri UpdateContainerResources "{\"container_id\": \"$first\", \"linux\": {\"memory_limit_in_bytes\": \"100663296\"}}"
[ "$(limit "$first" memory.max)" = 100663296 ]

step "stats"
stats=$(cri ListContainerStats '{}')
[ "$(jq '.stats | length' <<<"$stats")" = 2 ]
jq -e '.stats[0].memory.working_set_bytes.value | tonumber > 0' <<<"$stats"

step "exec probes, one a second for a minute"
probes=0
end=$((SECONDS + 60))
while [ $SECONDS -lt $end ]; do
    began=$SECONDS
    run_in "$second" test -e /proc/self
    probes=$((probes + 1))
    [ $SECONDS != "$began" ] || sleep 1
done
[ $probes -ge 10 ]

step "a container with a tty"
extra='{ "tty": true, "stdin": true }'
third=$(container "$boxes" boxes third tty)
extra=
eventually state_is "$third" CONTAINER_EXITED
grep -qE 'stdout F /dev/(pts/0|console)' $pods/third.log
[ "$(of "$third" exit_code)" = 0 ]

step "a program that is not there"
fails container "$boxes" boxes fourth /bin/none >"$steps_log.none" 2>&1
grep -q 'no such file or directory' "$steps_log.none"

step "stop, remove"
cri StopContainer "{\"container_id\": \"$first\", \"timeout\": \"30\"}"
[ "$(of "$first" exit_code)" = 3 ]
cri StopContainer "{\"container_id\": \"$second\", \"timeout\": \"0\"}"
[ "$(of "$second" exit_code)" = 137 ]
cri RemoveContainer "{\"container_id\": \"$first\"}"
cri StopPodSandbox "{\"pod_sandbox_id\": \"$boxes\"}"
cri RemovePodSandbox "{\"pod_sandbox_id\": \"$boxes\"}" # with the containers that are left

step "a pod with a user namespace"
ids='[{ "host_id": 200000, "container_id": 0, "length": 65536 }]'
userns="{ \"mode\": \"POD\", \"uids\": $ids, \"gids\": $ids }"
boxes=$(sandbox boxes)
first=$(container "$boxes" boxes first sleep 1000)
[ "$(run_in "$first" cat /proc/self/uid_map | tr -s ' ')" = " 0 200000 65536" ]
run_in "$first" touch /root/mine
[ "$(run_in "$first" stat -c %u /root/mine)" = 0 ]
cri StopPodSandbox "{\"pod_sandbox_id\": \"$boxes\"}"
cri RemovePodSandbox "{\"pod_sandbox_id\": \"$boxes\"}"

step "nothing is left"
nothing_left
