#!/bin/sh
# The rules of the house that no lint knows: short files, `unsafe` only in src/sys (main.rs has an attribute), and no
# dependency that nobody has looked at.
set -eu
cd "$(dirname "$0")/.."

broken=0
for file in $(find src tests crates/*/src crates/*/tests -name '*.rs'); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 400 ] || { echo "$file: $lines lines, at most 400"; broken=1; }
done
if grep -rnE --include='*.rs' 'unsafe (\{|fn|impl|extern)|allow\(unsafe_code' src | grep -v -e '^src/sys/' -e '^src/main.rs:.*allow(unsafe_code'; then
    echo "unsafe is for src/sys alone"
    broken=1
fi
integration/dependencies.sh || broken=1
exit $broken
