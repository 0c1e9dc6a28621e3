//! `containerd-shim-orlop-v2`: see the library's documentation for how it works.
//! process: start, daemon, worker
//!
//! `main` is C's, as in `orlop`: the start-up code of std takes longer than a worker's own work
//! before its first system call. The part of it that we need is in [`orlop::sys::process::begin`].
#![no_main]
#![allow(unsafe_code, reason = "the name under which the C library looks for the program")]

use std::ffi::{c_char, c_int};

/// As in `orlop`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *const *const c_char) -> c_int {
    orlop::sys::caller::note_arguments(arguments);
    c_int::from(orlop_shim::main())
}
