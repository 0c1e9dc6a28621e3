/*
 * The floor: the system calls that the bundle of `orlop spec` needs on a pure cgroup v2 machine, written down one after
 * another. It reads no config, checks nothing that it need not, keeps no state, and could not be told to do anything
 * else. No runtime can be faster than the kernel is in this.
 *
 *     floor ROOTFS CGROUP PROGRAM
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <net/if.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		_exit(1);
	}
}
#define MUST(call) must((long)(call), #call)

static int fsmount_at(int root, const char *type, const char *const *options, unsigned attributes, const char *target)
{
	int fs = syscall(SYS_fsopen, type, 1), mnt;
	must(fs, type);
	for (; options && *options; options += 2)
		must(syscall(SYS_fsconfig, fs, 1, options[0], options[1], 0), options[0]);
	must(syscall(SYS_fsconfig, fs, 6, NULL, NULL, 0), type);
	mnt = syscall(SYS_fsmount, fs, 1, attributes);
	must(mnt, type);
	must(syscall(SYS_move_mount, mnt, "", root, target, 4), target);
	close(fs);
	return mnt;
}

static void device_rules(int cgroup)
{
	/* Allows what runtimes always allow: null, zero, full, tty, random, urandom, console, ptmx, pts; and mknod. */
	static const int known[][2] = {{1, 3}, {1, 5}, {1, 7}, {5, 0}, {1, 8}, {1, 9}, {5, 1}, {5, 2}, {136, -1}};
	struct bpf_insn program[128];
	union bpf_attr attr;
	int n = 0, fd;
	unsigned i;
#define INSN(c, d, s, o, m) program[n++] = (struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (m)}
	INSN(0x61, 2, 1, 0, 0); /* r2 = access and type */
	INSN(0xbc, 3, 2, 0, 0);
	INSN(0x74, 3, 0, 0, 16); /* r3 = access */
	INSN(0x54, 2, 0, 0, 0xffff); /* r2 = type */
	INSN(0x61, 4, 1, 4, 0); /* r4 = major */
	INSN(0x61, 5, 1, 8, 0); /* r5 = minor */
	INSN(0x55, 3, 0, 2, 1); /* mknod alone is allowed */
	INSN(0xb7, 0, 0, 0, 1);
	INSN(0x95, 0, 0, 0, 0);
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		int any = known[i][1] < 0;
		INSN(0x55, 2, 0, any ? 3 : 4, 2);
		INSN(0x55, 4, 0, any ? 2 : 3, known[i][0]);
		if (!any)
			INSN(0x55, 5, 0, 2, known[i][1]);
		INSN(0xb7, 0, 0, 0, 1);
		INSN(0x95, 0, 0, 0, 0);
	}
	INSN(0xb7, 0, 0, 0, 0);
	INSN(0x95, 0, 0, 0, 0);
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uintptr_t)program;
	attr.insn_cnt = n;
	attr.license = (uintptr_t) "Apache-2.0";
	fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	must(fd, "BPF_PROG_LOAD");
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = cgroup;
	attr.attach_bpf_fd = fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	must(syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)), "BPF_PROG_ATTACH");
	close(fd);
}

static void mounts(int root)
{
	static const char *const dev[] = {"mode", "755", "size", "65536k", NULL};
	static const char *const pts[] = {"ptmxmode", "0666", "mode", "0620", "gid", "5", NULL};
	static const char *const shm[] = {"mode", "1777", "size", "65536k", NULL};
	unsigned flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV;
	MUST(fsmount_at(root, "proc", NULL, 0, "proc"));
	MUST(fsmount_at(root, "tmpfs", dev, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, "dev"));
	MUST(mkdirat(root, "dev/pts", 0755));
	MUST(mkdirat(root, "dev/shm", 0755));
	MUST(mkdirat(root, "dev/mqueue", 0755));
	MUST(fsmount_at(root, "devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, "dev/pts"));
	MUST(fsmount_at(root, "tmpfs", shm, flags, "dev/shm"));
	MUST(fsmount_at(root, "mqueue", NULL, flags, "dev/mqueue"));
	MUST(fsmount_at(root, "sysfs", NULL, flags | MOUNT_ATTR_RDONLY, "sys"));
	MUST(fsmount_at(root, "cgroup2", NULL, flags | MOUNT_ATTR_RDONLY, "sys/fs/cgroup"));
}

static void devices(int root)
{
	static const struct { const char *path; int major, minor; } nodes[] = {
		{"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
		{"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
	};
	static const char *const links[][2] = {
		{"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
		{"/proc/self/fd/2", "dev/stderr"}, {"/proc/kcore", "dev/core"}, {"pts/ptmx", "dev/ptmx"},
	};
	unsigned i;
	for (i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		must(mknodat(root, nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
	for (i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		must(symlinkat(links[i][0], root, links[i][1]), links[i][1]);
}

static void masks(int root)
{
	static const char *const masked[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
		"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
	static const char *const readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	struct stat st;
	unsigned i;
	for (i = 0; i < sizeof(masked) / sizeof(masked[0]); i++) {
		if (fstatat(root, masked[i], &st, 0) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			close(fsmount_at(root, "tmpfs", NULL, MOUNT_ATTR_RDONLY, masked[i]));
			continue;
		}
		int null = syscall(SYS_open_tree, root, "dev/null", OPEN_TREE_CLONE);
		must(null, "open_tree");
		must(syscall(SYS_move_mount, null, "", root, masked[i], 4), masked[i]);
		close(null);
	}
	for (i = 0; i < sizeof(readonly) / sizeof(readonly[0]); i++) {
		int tree = syscall(SYS_open_tree, root, readonly[i], OPEN_TREE_CLONE);
		if (tree < 0)
			continue;
		MUST(syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)));
		MUST(syscall(SYS_move_mount, tree, "", root, readonly[i], 4));
		close(tree);
	}
}

static void child(const char *rootfs, char *program)
{
	static const unsigned kept[] = {CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE};
	struct rlimit files = {1024, 1024};
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY, .propagation = 0};
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}, {0}};
	char *args[] = {program, NULL}, *env[] = {"PATH=/bin", "TERM=xterm", NULL};
	unsigned cap, i;
	int root, net;

	/* Not by clone3(2), which would take the parent's cgroup for its root. */
	MUST(unshare(CLONE_NEWCGROUP));
	MUST(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "_ses.floor"));
	net = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	must(net, "socket");
	MUST(ioctl(net, SIOCSIFFLAGS, &lo));
	close(net);
	MUST(mount("", "/", NULL, MS_SLAVE | MS_REC, NULL));
	root = syscall(SYS_open_tree, AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	must(root, rootfs);
	MUST(syscall(SYS_move_mount, root, "", AT_FDCWD, rootfs, 4));
	mounts(root);
	devices(root);
	masks(root);
	MUST(syscall(SYS_mount_setattr, root, "", AT_EMPTY_PATH, &attr, sizeof(attr)));
	MUST(fchdir(root));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	MUST(sethostname("floor", 5));
	MUST(setsid());
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	for (cap = 0; cap < 41; cap++) {
		if (cap != CAP_AUDIT_WRITE && cap != CAP_KILL && cap != CAP_NET_BIND_SERVICE)
			MUST(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	}
	MUST(syscall(SYS_setgroups, 0, NULL));
	MUST(syscall(SYS_setresgid, 0, 0, 0));
	MUST(syscall(SYS_setresuid, 0, 0, 0));
	for (i = 0; i < 3; i++)
		data[kept[i] / 32].effective |= 1u << (kept[i] % 32);
	data[0].permitted = data[0].effective;
	data[1].permitted = data[1].effective;
	MUST(syscall(SYS_capset, &header, data));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(syscall(SYS_close_range, 3, ~0u, 0));
	execve(program, args, env);
	must(-1, program);
}

int main(int argc, char **argv)
{
	struct clone_args args = {0};
	siginfo_t info;
	int cgroup, pidfd, pid;

	if (argc != 4) {
		fprintf(stderr, "usage: floor ROOTFS CGROUP PROGRAM\n");
		return 1;
	}
	MUST(mkdir(argv[2], 0755));
	cgroup = open(argv[2], O_DIRECTORY | O_CLOEXEC);
	must(cgroup, argv[2]);
	device_rules(cgroup);
	args.flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_PIDFD | CLONE_INTO_CGROUP;
	args.exit_signal = SIGCHLD;
	args.cgroup = cgroup;
	args.pidfd = (uintptr_t)&pidfd;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	must(pid, "clone3");
	if (pid == 0)
		child(argv[1], argv[3]);
	MUST(waitid(P_PID, pid, &info, WEXITED));
	while (rmdir(argv[2]) < 0 && errno == EBUSY)
		usleep(100);
	return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}
