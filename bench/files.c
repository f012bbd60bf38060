/* Small-file work without a shell's or a runtime's own costs.
 *   files create DIRECTORY COUNT BYTES [fsync]   COUNT files of BYTES each, 1,000 in a directory
 *   files reopen FILE COUNT                      open, read, close, COUNT times
 *   files stat FILE COUNT                        stat, COUNT times
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int create(const char *directory, long count, size_t bytes, int sync)
{
	char path[4096];
	char *data = malloc(bytes + 1);

	memset(data, 'x', bytes);
	for (long i = 0; i < count; i++) {
		if (i % 1000 == 0) {
			snprintf(path, sizeof path, "%s/%ld", directory, i / 1000);
			if (mkdir(path, 0755) != 0)
				return fail(path);
		}
		snprintf(path, sizeof path, "%s/%ld/%ld", directory, i / 1000, i);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
		if (fd < 0)
			return fail(path);
		/* No two files are the same: the number is in each. */
		int length = snprintf(data, bytes + 1, "%ld\n", i);
		data[length] = 'x';
		if (bytes > 0 && write(fd, data, bytes) != (ssize_t)bytes)
			return fail("write");
		if (sync && fsync(fd) != 0)
			return fail("fsync");
		if (close(fd) != 0)
			return fail("close");
	}
	return 0;
}

static int reopen(const char *path, long count)
{
	char data[4096];

	for (long i = 0; i < count; i++) {
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			return fail(path);
		if (read(fd, data, sizeof data) < 0)
			return fail("read");
		close(fd);
	}
	return 0;
}

static int stat_often(const char *path, long count)
{
	struct stat found;

	for (long i = 0; i < count; i++)
		if (stat(path, &found) != 0)
			return fail(path);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 5 && strcmp(argv[1], "create") == 0)
		return create(argv[2], atol(argv[3]), atol(argv[4]), argc > 5);
	if (argc == 4 && strcmp(argv[1], "reopen") == 0)
		return reopen(argv[2], atol(argv[3]));
	if (argc == 4 && strcmp(argv[1], "stat") == 0)
		return stat_often(argv[2], atol(argv[3]));
	fprintf(stderr, "files create|reopen|stat ...\n");
	return 2;
}
