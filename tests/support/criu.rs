//! A program in the place of criu, which records the request, answers it and ends.

use super::Bundle;
use super::userland::write_program;

/// Writes the request to its own directory, as a file with the number of the request's type.
/// Answers `VERSION` with a version, and `FEATURE_CHECK` with all features. All other requests fail
/// with errno 5. For `RESTORE`, the content of the file `notify`, if it exists, is sent first, and
/// the answer to it is written to the file `notified`.
const STAND_IN: &str = r#"#!/bin/bash
here=$(dirname "$0")
dd bs=65536 count=1 <&"$2" >"$here/request" 2>/dev/null
kind=$(od -An -tu1 -j1 -N1 "$here/request" | tr -d ' ')
mv "$here/request" "$here/$kind"
if [ "$kind" = 2 ] && [ -f "$here/notify" ]; then
    dd bs=65536 <"$here/notify" >&"$2" 2>/dev/null
    dd bs=65536 count=1 <&"$2" >"$here/notified" 2>/dev/null
fi
case $kind in
10) printf 'VERSION' >"$here/answer" ;;
9) printf '\x08\x09\x10\x01\x42\x04\x08\x01\x10\x01' >"$here/answer" ;;
*) printf "\x08\x0$kind\x10\x00\x38\x05" >"$here/answer" ;;
esac
dd bs=65536 <"$here/answer" >&"$2" 2>/dev/null
"#;

/// The answer with version 4.1.1 (`criu_resp`).
pub const NEW: &str = r"\x08\x0a\x10\x01\x52\x06\x08\x04\x10\x01\x20\x01";
/// The same with version 3.15.
pub const OLD: &str = r"\x08\x0a\x10\x01\x52\x04\x08\x03\x10\x0f";

/// Puts the stand-in before the real criu in `PATH`.
pub fn with_stand_in(bundle: Bundle, version: &str) -> Bundle {
    let program = bundle.scratch_dir("stand-in").join("criu");
    write_program(&program, &STAND_IN.replace("VERSION", version));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", bundle.scratch("stand-in").display());
    bundle.env("PATH", &path)
}

/// The notification `moment` of criu, with the container's first process `pid` (`criu_resp` with
/// `criu_notify`).
pub fn notification(moment: &str, mut pid: u32) -> Vec<u8> {
    let mut notify = vec![0x0a, u8::try_from(moment.len()).unwrap()];
    notify.extend_from_slice(moment.as_bytes());
    notify.push(0x10);
    while pid > 0x7f {
        notify.push(pid.to_le_bytes()[0] | 0x80);
        pid >>= 7;
    }
    notify.push(pid.to_le_bytes()[0]);
    let mut answer = vec![0x08, 6, 0x10, 1, 0x2a, u8::try_from(notify.len()).unwrap()];
    answer.extend(notify);
    answer
}
