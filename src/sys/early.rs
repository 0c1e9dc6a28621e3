//! The entry point of the program: applies the seal of [`super::self_exe`] before the C library
//! starts.
//!
//! Sealing executes the binary a second time, so the first start of glibc and std is wasted. It
//! costs about thirty page faults and forty system calls, and a third of a millisecond on machines
//! where CPUID traps (most virtual ones). So the linker sets the entry point to this file
//! (`build.rs`). It makes the system calls of the usual case itself. Then, or if one of them fails,
//! it jumps to `_start` of the C library. This only saves time: [`super::self_exe::seal`] does the
//! same unless [`is_proven`], handles all cases, and reports errors.
//!
//! There is no libc and no thread-local storage yet, and in a static program no relocation. So no
//! function outside of this file may be called (also not memcmp and memcpy, which compilers
//! insert), and no static may contain an address.

use std::arch::{asm, global_asm};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

use super::self_exe::{OVERLAY, REQUIRED, SECOND_LAYER, Seal};

// On entry the stack pointer is at argc (System V ABI, 3.4.1). For _start it must be there again,
// and rdx must have its old value, which _start registers with atexit.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl orlop_entry",
    "orlop_entry:",
    "mov rdi, rsp",
    "push rdx",
    "mov rbp, rsp",
    "and rsp, -16",
    "call {early}",
    "mov rsp, rbp",
    "pop rdx",
    "xor ebp, ebp",
    "jmp _start",
    early = sym early,
);

// The same; the value for atexit is in x0.
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl orlop_entry",
    "orlop_entry:",
    "str x0, [sp, #-16]!",
    "add x0, sp, #16",
    "bl {early}",
    "ldr x0, [sp], #16",
    "b _start",
    early = sym early,
);

static PROVEN: AtomicBool = AtomicBool::new(false);

/// Whether the seal was found before the C library started.
pub fn is_proven() -> bool {
    PROVEN.load(Ordering::Relaxed)
}

/// The memory at the stack pointer contains argc, the arguments, a null, the environment, a null.
unsafe extern "C" fn early(stack: *const usize) {
    // SAFETY: the kernel lays this memory out as the ABI says.
    unsafe {
        let count = stack.read();
        let arguments = stack.add(1).cast::<*const u8>();
        let environment = arguments.add(count + 1);
        if !enters_container(arguments, count) {
            return;
        }
        match find_seal() {
            Seal::Ours => PROVEN.store(true, Ordering::Relaxed),
            Seal::None => execute_sealed(arguments, environment),
            Seal::Doubtful => {}
        }
    }
}

/// Whether an argument is a verb that needs the seal. A container may have the same name, which is
/// harmless. After `image`, the arguments belong to another program, which is searched for in the
/// directory of our file.
unsafe fn enters_container(arguments: *const *const u8, count: usize) -> bool {
    for index in 1..count {
        // SAFETY: the arguments are NUL-terminated strings, and `count` is their number, including
        // the name of the program.
        unsafe {
            let word = arguments.add(index).read();
            if is(word, *b"image\0") {
                return false;
            }
            if is(word, *b"create\0") || is(word, *b"run\0") || is(word, *b"exec\0") {
                return true;
            }
        }
    }
    false
}

/// Whether the string is `name`. The reads are volatile, else the compiler inserts memcmp.
unsafe fn is<const LENGTH: usize>(word: *const u8, name: [u8; LENGTH]) -> bool {
    for (index, byte) in name.into_iter().enumerate() {
        // SAFETY: all bytes before this one are equal to `name`, so the string has not ended.
        if unsafe { word.add(index).read_volatile() } != byte {
            return false;
        }
    }
    true
}

const EXE: *const u8 = c"/proc/self/exe".as_ptr().cast();
const NOTHING: *const u8 = c"".as_ptr().cast();
const EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;
const HERE: usize = libc::AT_FDCWD as usize;

/// The same as `find_seal` of [`super::self_exe`], except for the case of a copy in memory.
unsafe fn find_seal() -> Seal {
    let mut found = MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: the kernel writes a statfs there, or fails.
    unsafe {
        if call(libc::SYS_statfs, [EXE as usize, found.as_mut_ptr() as usize, 0, 0, 0]) != 0 {
            return Seal::Doubtful;
        }
        // Signed words with glibc, unsigned ones with musl.
        let kind = (&raw const (*found.as_ptr()).f_type).read() as u64;
        let flags = (&raw const (*found.as_ptr()).f_flags).read() as u64;
        if kind != OVERLAY || flags & REQUIRED != REQUIRED {
            return Seal::None;
        }
        let clone = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize;
        let answer = call(libc::SYS_open_tree, [HERE, EXE as usize, clone, 0, 0]);
        if let Ok(tree) = usize::try_from(answer) {
            call(libc::SYS_close, [tree, 0, 0, 0, 0]);
        }
        if answer == -(libc::EINVAL as isize) && is_at_root() { Seal::Ours } else { Seal::Doubtful }
    }
}

/// Whether our path has one slash, at its beginning.
unsafe fn is_at_root() -> bool {
    let mut path = MaybeUninit::<[u8; MOST]>::uninit();
    // SAFETY: the kernel writes at most as many bytes there as the call says.
    unsafe {
        let path = path.as_mut_ptr().cast::<u8>();
        let arguments = [HERE, EXE as usize, path as usize, MOST, 0];
        let Ok(length @ 1..) = usize::try_from(call(libc::SYS_readlinkat, arguments)) else {
            return false;
        };
        let mut slashes = 0;
        for index in 0..length {
            slashes += usize::from(path.add(index).read_volatile() == b'/');
        }
        slashes == 1 && path.read_volatile() == b'/' && length < MOST
    }
}

/// The longest value that fsconfig(2) accepts, with the NUL.
const MOST: usize = 256;

/// The path of a file, whose last component is at `name`, and the value for `lowerdir` that is made
/// of it.
struct Layers {
    path: [u8; MOST],
    name: usize,
    lower: [u8; MOST],
}

/// Executes the binary again from an overlay. Returns if a call fails.
unsafe fn execute_sealed(arguments: *const *const u8, environment: *const *const u8) {
    let mut layers = MaybeUninit::<Layers>::uninit();
    // SAFETY: a structure that `find_layers` fills; NUL-terminated strings and arrays that end in a
    // null.
    unsafe {
        let layers = layers.as_mut_ptr();
        if !find_layers(layers) {
            return;
        }
        let Ok(mount) = usize::try_from(make_overlay((&raw const (*layers).lower).cast())) else {
            return;
        };
        let path = (&raw const (*layers).path).cast::<u8>();
        let name = path.add((*layers).name) as usize;
        let flags = (libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as usize;
        if let Ok(file) = usize::try_from(call(libc::SYS_openat, [mount, name, flags, 0, 0])) {
            if is_same_file(file) {
                let nothing = NOTHING as usize;
                call(
                    libc::SYS_execveat,
                    [file, nothing, arguments as usize, environment as usize, EMPTY_PATH],
                );
            }
            call(libc::SYS_close, [file, 0, 0, 0, 0]);
        }
        call(libc::SYS_close, [mount, 0, 0, 0, 0]);
    }
}

/// The directory of our file, as layers of an overlay. False if that needs escapes, is too long or
/// does not exist any more. The writes are volatile, else the compiler inserts memcpy.
unsafe fn find_layers(layers: *mut Layers) -> bool {
    // SAFETY: all indices are below MOST, as the path leaves room for the second layer.
    unsafe {
        let path = (&raw mut (*layers).path).cast::<u8>();
        let lower = (&raw mut (*layers).lower).cast::<u8>();
        let room = MOST - SECOND_LAYER.count_bytes() - 1;
        let length = call(libc::SYS_readlinkat, [HERE, EXE as usize, path as usize, room, 0]);
        let Ok(length @ 1..) = usize::try_from(length) else { return false };
        if length == room || path.read() != b'/' || path.add(length - 1).read() == b')' {
            return false; // the last for `/usr/bin/orlop (deleted)`
        }
        path.add(length).write_volatile(0);
        let mut name = length;
        while path.add(name - 1).read() != b'/' {
            name -= 1;
        }
        (*layers).name = name;
        for index in 0..name {
            let byte = path.add(index).read_volatile();
            if byte == b':' || byte == b'\\' {
                return false;
            }
            lower.add(index).write_volatile(byte);
        }
        let second = SECOND_LAYER.as_ptr().cast::<u8>();
        for index in 0..=SECOND_LAYER.count_bytes() {
            lower.add(name + index).write_volatile(second.add(index).read_volatile());
        }
        true
    }
}

/// fsopen(2), fsconfig(2), fsmount(2). Returns the descriptor of the mount, or a negative number.
unsafe fn make_overlay(lower: *const u8) -> isize {
    const STRING: usize = 1; // FSCONFIG_SET_STRING
    const CREATE: usize = 6; // FSCONFIG_CMD_CREATE
    const CLOEXEC: usize = 1; // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
    // SAFETY: strings that end in NUL.
    unsafe {
        let context = call(libc::SYS_fsopen, [c"overlay".as_ptr() as usize, CLOEXEC, 0, 0, 0]);
        let Ok(context) = usize::try_from(context) else { return context };
        call(
            libc::SYS_fsconfig,
            [context, STRING, c"lowerdir".as_ptr() as usize, lower as usize, 0],
        );
        // Not in a loop over a table, which would contain addresses.
        let off = c"off".as_ptr() as usize;
        call(libc::SYS_fsconfig, [context, STRING, c"xino".as_ptr() as usize, off, 0]);
        call(libc::SYS_fsconfig, [context, STRING, c"nfs_export".as_ptr() as usize, off, 0]);
        let mut answer = call(libc::SYS_fsconfig, [context, CREATE, 0, 0, 0]);
        if answer == 0 {
            answer = call(libc::SYS_fsmount, [context, CLOEXEC, REQUIRED as usize, 0, 0]);
        }
        call(libc::SYS_close, [context, 0, 0, 0, 0]);
        answer
    }
}

/// Whether this is the file that we run from. The path may name another file, if our binary was
/// replaced or if we were started from another mount namespace. The device number differs in the
/// overlay, so it is not compared.
unsafe fn is_same_file(file: usize) -> bool {
    let mut ours = MaybeUninit::<libc::stat>::uninit();
    let mut its = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel writes a stat there, or fails.
    unsafe {
        let (ours, its) = (ours.as_mut_ptr(), its.as_mut_ptr());
        call(libc::SYS_newfstatat, [HERE, EXE as usize, ours as usize, 0, 0]) == 0
            && call(libc::SYS_newfstatat, [file, NOTHING as usize, its as usize, EMPTY_PATH, 0])
                == 0
            && (*ours).st_ino == (*its).st_ino
            && (*ours).st_size == (*its).st_size
            && (*ours).st_ctime == (*its).st_ctime
            && (*ours).st_ctime_nsec == (*its).st_ctime_nsec
    }
}

/// A system call. Returns the result, an error as a negative number.
unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let answer;
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller passes only memory that the kernel may read and write, and the registers
    // that the call changes are named here.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            inlateout("x0") a => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x8") number,
            options(nostack),
        );
    }
    answer
}
