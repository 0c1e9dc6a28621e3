#!/bin/sh
# Makes sure that these Debian packages are installed: root gets them, anybody else is told what is missing.
set -eu

if ! command -v dpkg-query >/dev/null; then
    echo "not Debian: make sure that you have the like of: $*" >&2
    exit 0
fi
missing=
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "missing packages; as root: apt-get install$missing" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q install -y --no-install-recommends $missing # a list of names: without quotes
