//! The rules that are sections of the specification.

use super::Row;

/// Sorted by section. A narrower place comes before a wider one.
pub const SPECIFICATION: &[Row] = &[
    (
        "/ociVersion",
        "runtime-spec, config.md: Specification version",
        "write the version that the bundle is made for, such as 1.3.0",
    ),
    (
        "/root",
        "runtime-spec, config.md: Root",
        "root.path names the rootfs, absolute or from the bundle on",
    ),
    (
        "/mounts/*/options",
        "runtime-spec, config.md: Linux mount options",
        "see mount(8), and man pages of the filesystem",
    ),
    (
        "/mounts/*/uidMappings",
        "runtime-spec, config.md: POSIX-platform Mounts",
        "both mappings, of at least one id each",
    ),
    (
        "/mounts/*/gidMappings",
        "runtime-spec, config.md: POSIX-platform Mounts",
        "both mappings, of at least one id each",
    ),
    (
        "/mounts",
        "runtime-spec, config.md: Mounts",
        "a mount needs a destination, and a type, or a source and bind among its options",
    ),
    ("/process/cwd", "runtime-spec, config.md: Process (cwd)", "write a path from / on"),
    (
        "/process/terminal",
        "runtime-spec, config.md: Process (terminal)",
        "a terminal needs somebody who has its other side",
    ),
    (
        "/process/consoleSize",
        "runtime-spec, config.md: Process (consoleSize)",
        "both sides in characters, up to 65535",
    ),
    ("/process/env", "runtime-spec, config.md: Process (env)", "each is NAME=VALUE"),
    (
        "/process/args",
        "runtime-spec, config.md: POSIX process (args)",
        "the program and its arguments, one text each",
    ),
    (
        "/process/user",
        "runtime-spec, config.md: POSIX-platform User",
        "ids are below 4294967295, a umask is at most 511 (octal 777)",
    ),
    (
        "/process/rlimits",
        "runtime-spec, config.md: POSIX process (rlimits)",
        "each of getrlimit(2)'s limits once, soft not above hard",
    ),
    (
        "/process/capabilities",
        "runtime-spec, config.md: Linux Process (capabilities)",
        "see capabilities(7)",
    ),
    (
        "/process/apparmorProfile",
        "runtime-spec, config.md: Linux Process (apparmorProfile)",
        "the name of a profile, as aa-status has it",
    ),
    (
        "/process/selinuxLabel",
        "runtime-spec, config.md: Linux Process (selinuxLabel)",
        "a label of four parts, user:role:type:level",
    ),
    (
        "/process/oomScoreAdj",
        "runtime-spec, config.md: Linux Process (oomScoreAdj)",
        "a number from -1000 to 1000",
    ),
    (
        "/process/scheduler",
        "runtime-spec, config.md: Linux Process (scheduler)",
        "see sched(7) for what each policy takes",
    ),
    (
        "/process/ioPriority",
        "runtime-spec, config.md: Linux Process (ioPriority)",
        "a class of ioprio_set(2), and a priority from 0 to 7",
    ),
    (
        "/process/execCPUAffinity",
        "runtime-spec, config.md: Linux Process (execCPUAffinity)",
        "a list of CPUs, as in 0-3,7",
    ),
    (
        "/process",
        "runtime-spec, config.md: Process",
        "say what is to run: process.args and process.cwd",
    ),
    ("/hostname", "runtime-spec, config.md: Hostname", "at most 64 bytes"),
    ("/domainname", "runtime-spec, config.md: Domainname", "at most 64 bytes"),
    (
        "/hooks/*/*/timeout",
        "runtime-spec, config.md: POSIX-platform Hooks",
        "seconds, one at least, or no timeout at all",
    ),
    (
        "/hooks",
        "runtime-spec, config.md: POSIX-platform Hooks",
        "the path of a hook's program begins with /",
    ),
    (
        "/annotations",
        "runtime-spec, config.md: Annotations",
        "a text for each name; org.systemd.property.… are GVariant texts",
    ),
    (
        "/linux/namespaces",
        "runtime-spec, config-linux.md: Namespaces",
        "each type once; a path begins with /",
    ),
    (
        "/linux/uidMappings",
        "runtime-spec, config-linux.md: User namespace mappings",
        "mappings go together with {\"type\": \"user\"} in linux.namespaces",
    ),
    (
        "/linux/gidMappings",
        "runtime-spec, config-linux.md: User namespace mappings",
        "mappings go together with {\"type\": \"user\"} in linux.namespaces",
    ),
    (
        "/linux/timeOffsets",
        "runtime-spec, config-linux.md: Offset for Time Namespace",
        "monotonic and boottime, and {\"type\": \"time\"} in linux.namespaces without a path",
    ),
    (
        "/linux/devices",
        "runtime-spec, config-linux.md: Devices",
        "type c, b, u or p, a path, and the numbers of /proc/devices",
    ),
    (
        "/linux/netDevices",
        "runtime-spec, config-linux.md: Network Devices",
        "a name has at most 15 bytes, without slash, colon or space",
    ),
    (
        "/linux/cgroupsPath",
        "runtime-spec, config-linux.md: Cgroups Path",
        "a path below the root of the cgroups; SLICE:PREFIX:NAME with --systemd-cgroup",
    ),
    (
        "/linux/resources/devices",
        "runtime-spec, config-linux.md: Allowed Device list",
        "type a, b or c, and access of the letters r, w and m",
    ),
    (
        "/linux/resources/memory",
        "runtime-spec, config-linux.md: Memory",
        "bytes, or -1 for no limit; swap counts memory and swap together",
    ),
    (
        "/linux/resources/cpu",
        "runtime-spec, config-linux.md: CPU",
        "times in microseconds, a quota for each period",
    ),
    (
        "/linux/resources/pids",
        "runtime-spec, config-linux.md: PIDs",
        "a number of processes, or -1 for no limit",
    ),
    (
        "/linux/resources/blockIO",
        "runtime-spec, config-linux.md: Block IO",
        "weights from 10 to 1000; a device needs a limit of its own",
    ),
    (
        "/linux/resources/hugepageLimits",
        "runtime-spec, config-linux.md: Huge page limits",
        "a size that the machine has, as in 2MB",
    ),
    (
        "/linux/resources/network",
        "runtime-spec, config-linux.md: Network",
        "cgroup v1 alone has it",
    ),
    (
        "/linux/resources/rdma",
        "runtime-spec, config-linux.md: RDMA",
        "hcaHandles or hcaObjects, or both",
    ),
    (
        "/linux/resources/unified",
        "runtime-spec, config-linux.md: Unified",
        "files of cgroup v2 by their names, and what to write",
    ),
    (
        "/linux/resources",
        "runtime-spec, config-linux.md: Control groups",
        "see Documentation/admin-guide/cgroup-v2.rst of the kernel",
    ),
    (
        "/linux/rootfsPropagation",
        "runtime-spec, config-linux.md: Rootfs Mount Propagation",
        "shared, slave, private or unbindable, or with r before it",
    ),
    (
        "/linux/maskedPaths",
        "runtime-spec, config-linux.md: Masked Paths",
        "paths from the container's / on",
    ),
    (
        "/linux/readonlyPaths",
        "runtime-spec, config-linux.md: Readonly Paths",
        "paths from the container's / on",
    ),
    (
        "/linux/mountLabel",
        "runtime-spec, config-linux.md: Mount Label",
        "a label of four parts, user:role:type:level",
    ),
    (
        "/linux/seccomp",
        "runtime-spec, config-linux.md: Seccomp",
        "names as libseccomp has them: SCMP_ACT_…, SCMP_ARCH_…, SCMP_CMP_…",
    ),
    (
        "/linux/sysctl",
        "runtime-spec, config-linux.md: Sysctl",
        "only what a namespace of the container's own has: net., fs.mqueue., kernel.sem and the like",
    ),
    (
        "/linux/personality",
        "runtime-spec, config-linux.md: Personality",
        "LINUX or LINUX32, and no flags",
    ),
    (
        "/linux/intelRdt",
        "runtime-spec, config-linux.md: IntelRdt",
        "see Documentation/filesystems/resctrl.rst of the kernel",
    ),
    (
        "/linux/memoryPolicy",
        "runtime-spec, config-linux.md: Memory policy",
        "see set_mempolicy(2) for what each mode takes",
    ),
    ("/linux", "runtime-spec, config-linux.md", "see the specification"),
    ("", "RFC 8259 (JSON)", "config.json is one JSON object"),
];
