//! Where the program really begins: the seal of [`super::self_exe`], before the C library has started.
//!
//! Sealing executes the binary a second time. What the first time does before it is lost: glibc's start and std's, some
//! thirty page faults and forty system calls, and on machines where CPUID traps (most virtual ones) a third of a
//! millisecond. So the linker is told to enter the program here (`build.rs`), which does the three calls of the usual
//! case by hand, and goes on to the C library's `_start` when it is sealed, need not be, or any of them fails. Nothing
//! rests on this: [`super::self_exe::seal`] looks again, and knows all cases and says what is wrong.
//!
//! There is no libc yet, no thread-local storage, and in a static program no relocation: no function outside of this
//! file may be called (memcmp is one, which compilers like to call), and no static may hold an address.

use std::arch::{asm, global_asm};

// On entry the stack pointer is at argc (System V ABI, 3.4.1), and must be so again for _start, as rdx must be, which
// holds what _start shall register with atexit.
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

/// What is at the stack pointer: argc, the arguments, a null, the environment, a null.
unsafe extern "C" fn early(stack: *const usize) {
    // SAFETY: the kernel has put there what the ABI says.
    unsafe {
        let count = stack.read();
        let arguments = stack.add(1).cast::<*const u8>();
        let environment = arguments.add(count + 1);
        if !(1..count).any(|index| enters_container(arguments.add(index).read())) || is_sealed() {
            return;
        }
        execute_sealed(arguments, environment);
    }
}

/// Whether it is the name of a verb that needs the seal. That of a container might be the same, which costs little.
unsafe fn enters_container(word: *const u8) -> bool {
    // SAFETY: the caller's word is a string of C.
    unsafe { is(word, *b"create\0") || is(word, *b"run\0") || is(word, *b"exec\0") }
}

/// Whether the string is `name`. Read as volatile, or it becomes a call of memcmp.
unsafe fn is<const LENGTH: usize>(word: *const u8, name: [u8; LENGTH]) -> bool {
    for (index, byte) in name.into_iter().enumerate() {
        // SAFETY: up to here it was equal to `name`, so that the string has not ended.
        if unsafe { word.add(index).read_volatile() } != byte {
            return false;
        }
    }
    true
}

const EXE: *const u8 = c"/proc/self/exe".as_ptr().cast();

/// Whether we run from a read-only mount: statfs(2).
unsafe fn is_sealed() -> bool {
    const READ_ONLY: i64 = libc::ST_RDONLY.cast_signed();
    let mut found = std::mem::MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: the kernel writes a statfs there, or fails.
    unsafe {
        call(libc::SYS_statfs, [EXE as usize, found.as_mut_ptr() as usize, 0, 0, 0]) == 0
            && (&raw const (*found.as_ptr()).f_flags).read() & READ_ONLY != 0
    }
}

/// open_tree(2), mount_setattr(2), execveat(2): returns if one of them fails.
unsafe fn execute_sealed(arguments: *const *const u8, environment: *const *const u8) {
    const EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;
    let nothing = c"".as_ptr() as usize;
    let read_only = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize;
    // SAFETY: NUL-terminated strings, arrays that end in a null, and a structure of the size that is told.
    unsafe {
        let tree = call(libc::SYS_open_tree, [libc::AT_FDCWD as usize, EXE as usize, flags, 0, 0]);
        let Ok(tree) = usize::try_from(tree) else { return };
        let size = size_of::<libc::mount_attr>();
        let set = call(libc::SYS_mount_setattr, [tree, nothing, EMPTY_PATH, &raw const read_only as usize, size]);
        if set == 0 {
            call(libc::SYS_execveat, [tree, nothing, arguments as usize, environment as usize, EMPTY_PATH]);
        }
        call(libc::SYS_close, [tree, 0, 0, 0, 0]);
    }
}

/// A system call by hand: what the kernel answers, an error as a negative number.
unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let answer;
    let [a, b, c, d, e] = arguments;
    // SAFETY: whoever calls gives the kernel only what it may read and write; these registers are what it changes.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    answer
}
