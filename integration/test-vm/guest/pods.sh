# Read by cri.sh: pods and containers, as the kubelet asks for them.

# Starts the program that makes the calls.
begin_calls() {
    coproc CRI { exec python3 "$(dirname "$0")/cri.py"; }
    exec 4<&"${CRI[0]}" 5>&"${CRI[1]}" # a subshell has no coproc
}

# cri METHOD REQUEST: the response, a line of JSON.
cri() {
    echo "$1 $(jq -c . <<<"$2")" >&5
    read -r answer <&4
    echo "$answer"
    [[ $answer == {* ]]
}

# pod NAME: a pod's configuration; with $userns as the user namespace, if there is one.
pod() {
    jq -nc --arg name "$1" --argjson userns "${userns:-null}" '{
        metadata: { name: $name, uid: $name, namespace: "default" }, hostname: $name, log_directory: "/var/log/pods",
        linux: {
            cgroup_parent: "/kubepods.slice/kubepods-pod1.slice",
            security_context: {
                namespace_options: { pid: "POD", userns_options: $userns },
                seccomp: { profile_type: "RuntimeDefault" }
            },
            sysctls: { "net.ipv4.ip_unprivileged_port_start": "0" }
        }
    }'
}

sandbox() { cri RunPodSandbox "{\"config\": $(pod "$1"), \"runtime_handler\": \"$handler\"}" | jq -r .pod_sandbox_id; }

# container SANDBOX POD NAME COMMAND…: creates it and starts it; with $extra in its configuration. Its id.
container() {
    local sandbox=$1 pod=$2 name=$3 id
    shift 3
    id=$(cri CreateContainer "$(jq -nc --arg sandbox "$sandbox" --argjson pod "$(pod "$pod")" --arg name "$name" \
        --argjson extra "${extra:-null}" --argjson userns "${userns:-null}" '{
            pod_sandbox_id: $sandbox, sandbox_config: $pod,
            config: ({
                metadata: { name: $name }, image: { image: "docker.io/library/box:latest" },
                command: $ARGS.positional, log_path: "\($name).log",
                linux: {
                    resources: {
                        memory_limit_in_bytes: "67108864", cpu_period: "100000", cpu_quota: "50000", cpu_shares: "512",
                        oom_score_adj: "900"
                    },
                    security_context: {
                        namespace_options: { pid: "POD", userns_options: $userns },
                        seccomp: { profile_type: "RuntimeDefault" },
                        capabilities: { drop_capabilities: ["NET_RAW"] }, no_new_privs: true,
                        masked_paths: ["/proc/kcore", "/proc/keys", "/sys/firmware"],
                        readonly_paths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
                    }
                }
            } * ($extra // {}))
        }' --args -- "$@")" | jq -r .container_id)
    cri StartContainer "{\"container_id\": \"$id\"}" >&2 || return
    echo "$id"
}

# run_in CONTAINER COMMAND…: its output, and its exit code.
run_in() {
    local id=$1 answer
    shift
    answer=$(cri ExecSync "$(jq -nc --arg id "$id" '{ container_id: $id, timeout: "60", cmd: $ARGS.positional }' \
        --args -- "$@")")
    jq -r '.stdout | @base64d' <<<"$answer"
    return "$(jq -r .exit_code <<<"$answer")"
}

of() { cri ContainerStatus "{\"container_id\": \"$1\"}" | jq -r ".status.$2"; }
state_is() { [ "$(of "$1" state)" = "$2" ]; }
limit() {
    local pid
    pid=$(ctr -n k8s.io task ls | awk -v id="$1" '$1 == id { print $2 }')
    cat "/sys/fs/cgroup$(cut -d : -f 3 "/proc/$pid/cgroup")/$2"
}
