//! Tests of the shim: `start`, the socket and `delete`, driven as containerd does. They need root
//! and busybox, and make containers.

mod bad_input;
mod codec;
mod events;
mod lifecycle;
mod races;
mod start;
mod stdio;
mod support;
mod survival;
