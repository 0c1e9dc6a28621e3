//! A program in criu's place, which writes down what it is asked for and then ends.

use super::Bundle;
use super::userland::write_program;

/// Writes the request to the directory that it is in, under the number of its kind; answers which
/// version it is (`VERSION`) and that it has all features (`FEATURE_CHECK`); all else fails with
/// the error number 5. A `RESTORE` is answered by the file `notify` first, if there is one; what is
/// said to that is in the file `notified`.
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

/// An answer: the version is 4.1.1 (`criu_resp`).
pub const NEW: &str = r"\x08\x0a\x10\x01\x52\x06\x08\x04\x10\x01\x20\x01";
/// 3.15.
pub const OLD: &str = r"\x08\x0a\x10\x01\x52\x04\x08\x03\x10\x0f";

/// Puts the stand-in before the real one.
pub fn with_stand_in(bundle: Bundle, version: &str) -> Bundle {
    let program = bundle.scratch_dir("stand-in").join("criu");
    write_program(&program, &STAND_IN.replace("VERSION", version));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", bundle.scratch("stand-in").display());
    bundle.env("PATH", &path)
}

/// The notification that criu has come to `moment`, and the container's first process is `pid`
/// (`criu_resp` with `criu_notify`).
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
