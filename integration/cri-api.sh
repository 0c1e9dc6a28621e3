#!/bin/sh
# Makes api_pb2.py in a directory, the messages of the CRI for Python: `cri-api.sh DIRECTORY`. Their definition is in a
# Debian package of Go sources, which bookworm does not have: it comes from trixie, without its dependencies.
set -eu
directory=$1
"$(dirname "$0")"/packages.sh python3-grpcio python3-protobuf protobuf-compiler
[ ! -e "$directory/api_pb2.py" ] || exit 0
mkdir -p "$directory/lists/partial"
cd "$directory"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" >sources
# Apart from the machine's own sources and lists, which stay as they are.
apt() {
    apt-get -q -o APT::Sandbox::User=root -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o "Dir::Etc::sourcelist=$PWD/sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$PWD/lists" \
        -o "Dir::Cache=$PWD" "$@"
}
apt update
apt download golang-github-kubernetes-cri-api-dev
dpkg -x golang-github-kubernetes-cri-api-dev_*.deb go
# gogoproto says only how Go code is to be generated.
grep -v gogoproto go/usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto >api.proto
protoc --python_out=. api.proto
rm -rf go lists sources ./*.deb ./*.bin
