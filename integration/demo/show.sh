# Runs inside of the container, and says what it finds there.
say() { printf '%-14s %s\n' "$1" "$2"; }
first_of() { for file; do [ -r "$file" ] && cat "$file" && return; done; }

say 'pid' "$$: $(tr '\0' ' ' </proc/1/cmdline)"
say 'processes' "$(ls /proc | grep -c '^[0-9]') (this shell, and what it runs)"
say 'hostname' "$(hostname)"
say 'user' "$(id)"
say 'capabilities' "$(sed -n 's/^CapEff:\t//p' /proc/self/status) (kill, net_bind_service)"
say 'privileges' "no_new_privs $(sed -n 's/^NoNewPrivs:\t//p' /proc/self/status), seccomp mode $(sed -n 's/^Seccomp:\t//p' /proc/self/status)"
say 'network' "$(ls /sys/class/net | tr '\n' ' ')"
say 'memory limit' "$(first_of /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes) bytes"
say 'process limit' "$(first_of /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max)"
say '/proc/keys' "$(wc -c </proc/keys) bytes (masked)"
mkdir /nosuch 2>/dev/null || say '/' 'read-only'
chmod 700 /tmp/. 2>/dev/null || say 'chmod' 'refused by the seccomp filter'
echo
echo 'mounts'
while read -r _ target kind options _; do
    printf '  %-22s %-8s %s\n' "$target" "$kind" "${options%%,relatime*}"
done </proc/mounts
