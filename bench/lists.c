/* Asks for one thing again and again, as fast as answers come, each connection for the next when it has the last: lists a second.
 *
 *   lists PORT PATH CONNECTIONS SECONDS      writes how many answers came, and how many bytes
 *
 * In C, so that the load needs less of its processor than the server of its own.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, ROOM = 256 * 1024 };

struct peer {
	int socket;
	size_t has;
	char buffer[ROOM];
};

static double now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "lists: %s\n", what);
	exit(1);
}

/* Length of the answer at the beginning; 0 while it is not complete. */
static size_t answer(char *bytes, size_t has)
{
	char *head_end = memmem(bytes, has, "\r\n\r\n", 4);
	if (!head_end)
		return 0;
	size_t head = head_end + 4 - bytes;
	if (has < 12 || memcmp(bytes, "HTTP/1.1 200", 12))
		die("an answer is not 200");
	for (char *line = bytes; line < head_end; line = (char *)memmem(line, head_end + 2 - line, "\r\n", 2) + 2) {
		if (!strncasecmp(line, "content-length:", 15)) {
			size_t length = head + strtoul(line + 15, NULL, 10);
			return has >= length ? length : 0;
		}
		if (!strncasecmp(line, "transfer-encoding:", 18)) {
			char *end = memmem(head_end, has - (head_end - bytes), "\r\n0\r\n\r\n", 7);
			return end ? (size_t)(end + 7 - bytes) : 0;
		}
	}
	die("an answer does not say how long it is");
	return 0;
}

int main(int count, char **words)
{
	if (count != 5)
		die("lists PORT PATH CONNECTIONS SECONDS");
	static char request[4096];
	int length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAccept: */*\r\n\r\n", words[2], words[1]);
	int peers = atoi(words[3]), poll = epoll_create1(0);
	if (length >= (int)sizeof request || peers < 1 || peers > MOST)
		die("too long, or too many");
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(words[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer *all = calloc(peers, sizeof *all);
	for (int i = 0; i < peers; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &all[i] };
		all[i].socket = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(all[i].socket, (struct sockaddr *)&to, sizeof to) || epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &event))
			die("cannot connect");
		if (write(all[i].socket, request, length) != length)
			die("cannot ask");
	}
	double end = now() + atof(words[4]);
	unsigned long answers = 0, bytes = 0;
	while (now() < end) {
		struct epoll_event events[64];
		int ready = epoll_wait(poll, events, 64, 100);
		for (int i = 0; i < ready; i++) {
			struct peer *peer = events[i].data.ptr;
			ssize_t got = read(peer->socket, peer->buffer + peer->has, ROOM - peer->has);
			if (got <= 0)
				die("a connection was closed");
			peer->has += got;
			size_t done = answer(peer->buffer, peer->has);
			if (!done && peer->has == ROOM)
				die("an answer is too long");
			if (!done)
				continue;
			answers++, bytes += done;
			/* One at a time: nothing follows it. */
			peer->has = 0;
			if (write(peer->socket, request, length) != length)
				die("cannot ask");
		}
	}
	printf("%lu %lu\n", answers, bytes);
	return 0;
}
