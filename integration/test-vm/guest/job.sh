#!/usr/bin/env bash
# What the machine does: unpacks what the host has put into /share, runs the jobs that /share/jobs names, and writes
# those that failed to /share/failed. A job is CALLER:RUNTIME, `suite`, the behaviour tests, or `many`, those of 500
# containers at once.
set -uo pipefail
echo "the machine is up after $(cut -d . -f 1 /proc/uptime) s"
repository=$(cat /share/repository)
mkdir -p "$repository"
tar -C "$repository" -xf /share/files.tar
install -m 0755 /share/orlop /share/containerd-shim-orlop-v2 /usr/local/bin
# Where the packages have it, and with it the files of contrib.
ln -sf /usr/local/bin/orlop /usr/bin/orlop
here=$repository/integration/test-vm/guest
# An ordinary user reads these, too.
install -D -m 0755 -t /usr/local/lib/test-vm "$here"/*.sh "$here"/*.py /share/main
export IMAGES=/usr/local/lib/test-vm/images CONFIG=$repository/integration/kubernetes CONTRIB=$repository/contrib
/usr/local/lib/test-vm/images.sh "$IMAGES"
install -D -m 0644 -t /etc/containers/containers.conf.d "$CONTRIB/containers/50-orlop.conf"
cd /usr/local/lib/test-vm

# as_user COMMAND…: in a unit of the user's own systemd, so that cgroups can be delegated.
as_user() {
    runuser -u orlop-user -- env XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user --quiet --pipe --wait --collect \
        --property Delegate=yes --property RuntimeMaxSec=600 --setenv RUNTIME="$RUNTIME" --setenv IMAGES="$IMAGES" \
        --working-directory /home/orlop-user "$@"
}

# On the disk: its /tmp has nodev and nosuid.
suite() { TMPDIR=/var/tmp ORLOP_TIME_LIMIT=120 timeout 3000 ./main --quiet "$@"; }

job() {
    case $1 in
    suite)
        if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
            suite
        else
            # On cgroup v1 systemd empties the hierarchies in which it has no more limits: its tests run for themselves.
            local failed=0
            suite systemd || failed=1
            suite --skip systemd || failed=1
            return $failed
        fi
        ;;
    many) ORLOP_MANY=500 suite many:: ;;
    podman-rootless:*) as_user "$PWD/podman.sh" ;;
    *) timeout 600 "./${1%:*}.sh" ;;
    esac
}

: >/share/failed
for name in $(cat /share/jobs); do
    export RUNTIME=/usr/local/bin/orlop
    [[ $name != *:runc ]] || RUNTIME=/usr/sbin/runc
    [[ $name != *:orlop-shim ]] || RUNTIME=/usr/local/bin/containerd-shim-orlop-v2
    printf '\n== %s\n' "$name"
    SECONDS=0
    job "$name" </dev/null || echo "$name" >>/share/failed
    echo "== $name: $SECONDS s"
done
touch /share/finished
