/*
 * Runs a command and prints what it cost: exit status, wall time and CPU time in microseconds, peak resident memory in
 * KiB, page faults. CPU, memory and faults are those of the command and of all its children that have been waited for.
 * Small and static, because a child's peak begins with that of its parent.
 *
 *     measure COMMAND [ARG…]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long micros(struct timeval t)
{
	return t.tv_sec * 1000000L + t.tv_usec;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t quiet;
	struct timespec begin, end;
	struct rusage usage;
	int status, error;
	pid_t pid;

	if (argc < 2)
		return 2;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	error = posix_spawnp(&pid, argv[1], &quiet, NULL, argv + 1, environ);
	if (error) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(error));
		return 2;
	}
	if (wait4(pid, &status, 0, &usage) < 0)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%d %ld %ld %ld %ld\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
	       (end.tv_sec - begin.tv_sec) * 1000000L + (end.tv_nsec - begin.tv_nsec) / 1000,
	       micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss, usage.ru_minflt + usage.ru_majflt);
	return 0;
}
