/* The least that a FUSE server can do: a root with one file, nothing cached, so that each stat(2)
 * asks. Reads /dev/fuse in a loop; no libfuse. Usage: null_server DIRECTORY (as root).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char request[FUSE_MIN_READ_BUFFER + (1 << 20)];

static void reply(int fd, uint64_t unique, int error, const void *body, size_t size)
{
	char out[sizeof(struct fuse_out_header) + 256];
	struct fuse_out_header header = { sizeof header + size, error, unique };

	memcpy(out, &header, sizeof header);
	memcpy(out + sizeof header, body, size);
	if (write(fd, out, header.len) < 0 && errno != ENOENT)
		perror("reply");
}

static struct fuse_attr attributes(uint64_t inode)
{
	struct fuse_attr attr = { .ino = inode, .nlink = 1, .blksize = 4096 };

	attr.mode = inode == 1 ? S_IFDIR | 0755 : S_IFREG | 0644;
	return attr;
}

int main(int argc, char **argv)
{
	char options[128];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (argc != 2 || fd < 0)
		return fprintf(stderr, "null_server DIRECTORY, and /dev/fuse\n"), 2;
	snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0", fd);
	if (mount("null", argv[1], "fuse.null", MS_NOSUID | MS_NODEV, options) != 0)
		return perror("mount"), 1;
	puts("serving");
	fflush(stdout);
	for (;;) {
		ssize_t length = read(fd, request, sizeof request);
		if (length < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (length < 0)
			return errno != ENODEV;
		struct fuse_in_header *in = (void *)request;
		switch (in->opcode) {
		case FUSE_INIT: {
			struct fuse_init_in *asked = (void *)(in + 1);
			struct fuse_init_out out = { .major = 7, .minor = 31, .max_write = 4096 };
			out.max_readahead = asked->max_readahead;
			reply(fd, in->unique, 0, &out, sizeof out);
			break;
		}
		case FUSE_LOOKUP: {
			struct fuse_entry_out out = { .nodeid = 2, .attr = attributes(2) };
			int found = strcmp((char *)(in + 1), "file") == 0;
			reply(fd, in->unique, found ? 0 : -ENOENT, &out, found ? sizeof out : 0);
			break;
		}
		case FUSE_GETATTR: {
			struct fuse_attr_out out = { .attr = attributes(in->nodeid) };
			reply(fd, in->unique, 0, &out, sizeof out);
			break;
		}
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
			break;
		default:
			reply(fd, in->unique, -ENOSYS, "", 0);
		}
	}
}
