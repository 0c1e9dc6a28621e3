//! Tests of the shim: `start`, the socket and `delete`, driven as containerd does. They need root
//! and busybox, and make containers.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test that cannot go on should panic, and works on trusted paths"
)]

mod bad_input;
mod blocked;
mod codec;
mod events;
#[expect(dead_code, reason = "the tests of the runtime use all of it")]
#[path = "../../../tests/support/fuse.rs"]
mod fuse;
mod lifecycle;
mod races;
mod rootfs;
mod start;
mod stdio;
mod support;
mod survival;
