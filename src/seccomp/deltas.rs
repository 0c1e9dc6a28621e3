//! What the tables of the crate `syscalls` lack, as data: three calling conventions that are a
//! variation of another, and calls younger than the crate. From the kernel's `syscall.tbl` files.

/// Calls of kernels 6.19 and 7.1; the same number everywhere.
pub const YOUNG: [(&str, u16); 2] = [("listns", 470), ("rseq_slice_yield", 471)];

/// Where a convention with 32-bit `long` on a 64-bit kernel takes 64-bit times.
pub const TIME64: [(&str, u16); 20] = [
    ("clock_gettime64", 403),
    ("clock_settime64", 404),
    ("clock_adjtime64", 405),
    ("clock_getres_time64", 406),
    ("clock_nanosleep_time64", 407),
    ("timer_gettime64", 408),
    ("timer_settime64", 409),
    ("timerfd_gettime64", 410),
    ("timerfd_settime64", 411),
    ("utimensat_time64", 412),
    ("pselect6_time64", 413),
    ("ppoll_time64", 414),
    ("io_pgetevents_time64", 416),
    ("recvmmsg_time64", 417),
    ("mq_timedsend_time64", 418),
    ("mq_timedreceive_time64", 419),
    ("semtimedop_time64", 420),
    ("rt_sigtimedwait_time64", 421),
    ("futex_time64", 422),
    ("sched_rr_get_interval_time64", 423),
];

/// ARM's private calls are 0xf0000 and up; bit 15 stands for that here (see `Syscall::number`).
pub const ARM: [(&str, u16); 6] = [
    ("breakpoint", 0x8001),
    ("cacheflush", 0x8002),
    ("usr26", 0x8003),
    ("usr32", 0x8004),
    ("set_tls", 0x8005),
    ("get_tls", 0x8006),
];

/// x32 is x86_64 except for the calls that pass pointers or times inside of structures.
pub const X32: [(&str, u16); 36] = [
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

/// Calls of x86_64 that x32 does not have.
pub const X32_LACKS: [&str; 11] = [
    "uselib",
    "_sysctl",
    "create_module",
    "get_kernel_syms",
    "query_module",
    "nfsservctl",
    "set_thread_area",
    "get_thread_area",
    "epoll_ctl_old",
    "epoll_wait_old",
    "vserver",
];

/// s390 is s390x except for the calls with 16-bit ids and 32-bit offsets.
pub const S390: [(&str, u16); 55] = [
    ("time", 13),
    ("lchown", 16),
    ("setuid", 23),
    ("getuid", 24),
    ("stime", 25),
    ("setgid", 46),
    ("getgid", 47),
    ("geteuid", 49),
    ("getegid", 50),
    ("setreuid", 70),
    ("setregid", 71),
    ("getrlimit", 76),
    ("getgroups", 80),
    ("setgroups", 81),
    ("fchown", 95),
    ("ioperm", 101),
    ("setfsuid", 138),
    ("setfsgid", 139),
    ("_llseek", 140),
    ("_newselect", 142),
    ("setresuid", 164),
    ("getresuid", 165),
    ("setresgid", 170),
    ("getresgid", 171),
    ("chown", 182),
    ("ugetrlimit", 191),
    ("mmap2", 192),
    ("truncate64", 193),
    ("ftruncate64", 194),
    ("stat64", 195),
    ("lstat64", 196),
    ("fstat64", 197),
    ("lchown32", 198),
    ("getuid32", 199),
    ("getgid32", 200),
    ("geteuid32", 201),
    ("getegid32", 202),
    ("setreuid32", 203),
    ("setregid32", 204),
    ("getgroups32", 205),
    ("setgroups32", 206),
    ("fchown32", 207),
    ("setresuid32", 208),
    ("getresuid32", 209),
    ("setresgid32", 210),
    ("getresgid32", 211),
    ("chown32", 212),
    ("setuid32", 213),
    ("setgid32", 214),
    ("setfsuid32", 215),
    ("setfsgid32", 216),
    ("fcntl64", 221),
    ("sendfile64", 223),
    ("fadvise64_64", 264),
    ("fstatat64", 293),
];

/// Calls of s390x that s390 does not have.
pub const S390_LACKS: [&str; 3] = ["select", "newfstatat", "semtimedop"];

/// MIPS n32 has four calls that n64 does not need.
pub const N32: [(&str, u16); 4] =
    [("fcntl64", 212), ("statfs64", 217), ("fstatfs64", 218), ("sendfile64", 219)];

/// The number in MIPS n32 of the call that has number `n64` in n64: the additional calls pushed the
/// later ones on.
pub const fn n32_number(n64: u16) -> u16 {
    match n64 {
        212..=215 => n64 + 1,
        216..=294 | 309..=328 => n64 + 4,
        295..=307 => n64 + 5,
        308 => 299,
        _ => n64,
    }
}
