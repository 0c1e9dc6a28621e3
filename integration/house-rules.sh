#!/bin/sh
# The rules of the house that no lint knows: short files, `unsafe` only in src/sys (main.rs has an attribute), waiting only
# in src/sys/wait.rs, and no dependency that nobody has looked at.
set -eu
cd "$(dirname "$0")/.."

broken=0
for file in $(find src tests crates/*/src crates/*/tests -name '*.rs'); do
    lines=$(wc -l <"$file")
    [ "$lines" -le 480 ] || { echo "$file: $lines lines, at most 480"; broken=1; }
done
# Code and comments keep to 100 columns. A text in quotes is not cut for it, nor is the row of a table.
if LC_ALL=C.UTF-8 grep -rnE --include='*.rs' '^.{101,}' src tests crates/*/src crates/*/tests examples fuzz/fuzz_targets |
    grep -vE '^[^:]+:[0-9]+:.*["\\]|^[^:]+:[0-9]+:\s*//[/!] \|'; then
    echo "more than 100 columns"
    broken=1
fi
if grep -rnE --include='*.rs' 'unsafe (\{|fn|impl|extern)|allow\(unsafe_code' src | grep -v -e '^src/sys/' -e '^src/main.rs:.*allow(unsafe_code'; then
    echo "unsafe is for src/sys alone"
    broken=1
fi
# What may wait, by whichever crate. `// no wait: …` on the line says why one of them does not.
waits='(libc|event|net|process|wait|thread|rustix|nix)::(poll|ppoll|select|epoll_wait|recv|recvfrom|recvmsg|recvmsg_with|send|sendto|sendmsg|accept|accept4|accept_with|connect|sigwait|sigwaitinfo|sigtimedwait|wait|wait4|waitid|waitpid|sleep|nanosleep|park)\b'
waits="$waits|(event|net|process|wait|thread)::\{[^}]*\b(poll|recv|recvmsg|sendmsg|accept|accept_with|connect|waitid|waitpid|sleep)\b"
waits="$waits|[ :]waitid\(|Unix(Stream|Datagram)::connect|\.set_(read|write)_timeout\(|\.(output|status|wait_with_output)\(\)\.|fs::read\(|Operation::Lock|Command::new.*\.spawn\(\)|F_SETLKW|park_timeout|recv_timeout"
if grep -rnE --include='*.rs' "$waits" src | grep -vE '^src/sys/wait.rs:|/tests.rs:|^src/seccomp/oracle|^[^:]+:[0-9]+:\s*//|\bwait::(connect|accept|send)\(|// no wait: '; then
    echo "waiting is for src/sys/wait.rs alone, which asks for a bound"
    broken=1
fi
integration/dependencies.sh || broken=1
exit $broken
