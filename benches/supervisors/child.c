/* The service of the benches: as small as a process can be, so that what is measured is its supervisor.
 *
 *   child MARKS NAME [ready] [lines N]
 *
 * Without these arguments it reads them from the file `args` beside it, so that runit, s6 and daemontools can have it as
 * `run` itself, without a shell on the measured path.
 *
 * At main it appends "NAME PID CLOCK_MONOTONIC-in-ns\n" to MARKS (one write, O_APPEND). `ready`: tells s6 so on
 * descriptor 3. `lines N`: then writes N numbered lines of 100 bytes to stdout. Then it waits for ever, without waking.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void put(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = write(1, p, n);
		if (k <= 0)
			_exit(1);
		p += k;
		n -= (size_t)k;
	}
}

static void lines(long n)
{
	enum { LINE = 100, BATCH = 320 };
	static char buf[LINE * BATCH];
	size_t used = 0;

	for (long i = 0; i < n; i++) {
		char number[16];
		snprintf(number, sizeof number, "n=%010ld ", i);
		memset(buf + used, 'x', LINE - 1);
		memcpy(buf + used, number, 13);
		buf[used + LINE - 1] = '\n';
		used += LINE;
		if (used == sizeof buf) {
			put(buf, used);
			used = 0;
		}
	}
	put(buf, used);
}

/* Splits the file `args` of the working directory at white space. */
static int read_args(char **argv, int most)
{
	static char text[4096];
	int fd = open("args", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	int argc = 1;

	for (char *word = n > 0 ? strtok(text, " \n") : NULL; word && argc < most; word = strtok(NULL, " \n"))
		argv[argc++] = word;
	if (fd >= 0)
		close(fd);
	return argc;
}

int main(int argc, char **argv)
{
	struct timespec now;
	char mark[128];
	char *from_file[8] = {argv[0]};

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (argc < 3) {
		argc = read_args(from_file, 8);
		argv = from_file;
	}
	if (argc < 3)
		return 2;
	int fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	int n = snprintf(mark, sizeof mark, "%s %d %lld\n", argv[2], (int)getpid(),
			 (long long)now.tv_sec * 1000000000LL + now.tv_nsec);
	if (fd < 0 || write(fd, mark, (size_t)n) != n)
		return 1;
	close(fd);
	for (int i = 3; i < argc; i++) {
		if (!strcmp(argv[i], "ready") && write(3, "\n", 1) == 1)
			close(3);
		if (!strcmp(argv[i], "lines") && i + 1 < argc)
			lines(atol(argv[i + 1]));
	}
	for (;;)
		pause();
}
