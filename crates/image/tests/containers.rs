//! What a container gets of its image and of us.

use std::fs;

use crate::support::machine::{Machine, eventually, nginx_shaped, signal, unique};

/// Signals are the container's, also when we have had some of our own to watch for until then.
#[test]
fn signals_of_a_first_run() {
    let machine = Machine::new(&nginx_shaped());
    for name in ["first", "again"] {
        let output = machine.place.path(name);
        // It ends by itself, should nobody tell it a second time.
        let script = "trap 'echo got it; n=x$n; test $n = xx && exit 9' TERM; echo here; \
                      while test ${#t} -lt 400; do t=x$t; sleep 0.05; done";
        let mut command = machine.command(&["--name", &unique(name), "--entrypoint", "/bin/sh", "--", "-c", script]);
        let mut child = command.stdout(fs::File::create(&output).unwrap()).spawn().unwrap();
        let said = |text: &str| eventually(|| fs::read_to_string(&output).unwrap().contains(text));
        said("here");
        signal(&child, "TERM");
        said("got it");
        signal(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
        assert_eq!(machine.containers(), 0);
    }
}
