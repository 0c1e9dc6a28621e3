//! The `orlop` program: see the library's documentation for how it works.
//!
//! `main` is a C function, because std's start-up costs twenty system calls and as many page
//! faults: it installs a handler for stack overflows, and reads where the stack is, which we do not
//! need. The two things that we need of it are in [`orlop::sys::process::begin`].
#![no_main]
#![allow(unsafe_code, reason = "the name under which the C library looks for the program")]

use std::ffi::{c_char, c_int};

/// musl's malloc maps and unmaps memory for each size of block, which costs 76 system calls in
/// `run`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

#[unsafe(no_mangle)]
extern "C" fn main(_count: c_int, arguments: *const *const c_char) -> c_int {
    orlop::sys::caller::note_arguments(arguments);
    c_int::from(orlop::cli::main())
}
