/* The floor: what a relay costs that does nothing but one send per access unit and viewer.
 *
 * One thread, epoll, no queues, no RTCP, no credentials, one stream, one video track. A publisher comes with ANNOUNCE,
 * SETUP (interleaved), RECORD; viewers with DESCRIBE, SETUP (interleaved 0-1, or UDP with client_port), PLAY. A viewer that
 * cannot take a whole access unit at once is dropped. Not a server to use: it trusts its peers.
 *
 * usage: floor [PORT]            build: cc -O2 -o floor floor.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MAX_CONNECTIONS = 4096, IN_BYTES = 1 << 18, UNIT_BYTES = 1 << 20, MAX_PACKETS = 4096, MAX_SEGMENTS = 60 };

struct connection {
    char *in; /* unparsed bytes, allocated with the connection */
    size_t in_len;
    int publishes, plays, udp; /* udp: the client's RTP port, 0 for interleaved */
    struct sockaddr_in peer;
};

static struct connection connections[MAX_CONNECTIONS]; /* by descriptor */
static int top;                                        /* one past the highest descriptor ever used */
static char sdp[4096], unit[UNIT_BYTES], flat[UNIT_BYTES];
static size_t unit_len, flat_len, sizes[MAX_PACKETS], packets;
static int udp_socket, udp_port;
static unsigned long dropped;

static void end(int fd) {
    close(fd);
    free(connections[fd].in);
    connections[fd] = (struct connection){0};
}

/* Runs of packets of one size (the last may be shorter) leave in one call each. */
static void send_datagrams(const struct connection *viewer) {
    struct sockaddr_in to = viewer->peer;
    to.sin_port = htons(viewer->udp);
    size_t at = 0;
    for (size_t i = 0; i < packets;) {
        size_t size = sizes[i], bytes = 0, n = 0;
        while (i < packets && n < MAX_SEGMENTS && sizes[i] <= size && bytes + sizes[i] < 65000) {
            bytes += sizes[i];
            n++;
            if (sizes[i++] < size) break;
        }
        char control[CMSG_SPACE(sizeof(uint16_t))] = {0};
        struct iovec part = {flat + at, bytes};
        struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1};
        if (n > 1) {
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            struct cmsghdr *c = CMSG_FIRSTHDR(&message);
            c->cmsg_level = SOL_UDP;
            c->cmsg_type = UDP_SEGMENT;
            c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
            *(uint16_t *)CMSG_DATA(c) = size;
        }
        if (sendmsg(udp_socket, &message, MSG_DONTWAIT) < 0) dropped++;
        at += bytes;
    }
}

static void fan_out(void) {
    for (int fd = 0; fd < top; fd++) {
        struct connection *viewer = &connections[fd];
        if (!viewer->plays) continue;
        if (viewer->udp) {
            send_datagrams(viewer);
        } else if (send(fd, unit, unit_len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)unit_len) {
            dropped++;
            end(fd);
        }
    }
    unit_len = flat_len = packets = 0;
}

/* One `$` frame of the publisher: kept until the marker bit ends the access unit. */
static void take_packet(const char *frame, size_t len) {
    if (frame[1] != 0 || len < 16 || packets == MAX_PACKETS || unit_len + len > UNIT_BYTES) return;
    memcpy(unit + unit_len, frame, len);
    memcpy(flat + flat_len, frame + 4, len - 4);
    unit_len += len;
    flat_len += len - 4;
    sizes[packets++] = len - 4;
    if (frame[5] & 0x80) fan_out();
}

static void answer(int fd, const char *cseq, const char *headers, const char *body) {
    char out[8192];
    int n = snprintf(out, sizeof out, "RTSP/1.0 200 OK\r\nCSeq: %d\r\nSession: 1\r\n%sContent-Length: %zu\r\n\r\n%s",
                     cseq ? atoi(cseq + 5) : 0, headers, strlen(body), body);
    if (send(fd, out, n, MSG_NOSIGNAL) != n) dropped++;
}

static void take_request(int fd, char *head, const char *body, size_t body_len) {
    struct connection *c = &connections[fd];
    char headers[512] = "", *cseq = strcasestr(head, "\nCSeq:"), *transport = strcasestr(head, "\nTransport:");
    cseq = cseq ? cseq + 1 : NULL;
    if (!strncmp(head, "ANNOUNCE", 8)) {
        snprintf(sdp, sizeof sdp, "%.*s", (int)body_len, body);
        answer(fd, cseq, "", "");
    } else if (!strncmp(head, "DESCRIBE", 8)) {
        char *uri = head + 9;
        snprintf(headers, sizeof headers, "Content-Type: application/sdp\r\nContent-Base: %.*s/\r\n",
                 (int)strcspn(uri, " \r"), uri);
        answer(fd, cseq, headers, sdp);
    } else if (!strncmp(head, "SETUP", 5)) {
        char *port = transport ? strcasestr(transport, "client_port=") : NULL;
        if (port) {
            c->udp = atoi(port + 12);
            snprintf(headers, sizeof headers, "Transport: RTP/AVP;unicast;client_port=%d-%d;server_port=%d-%d\r\n", c->udp,
                     c->udp + 1, udp_port, udp_port + 1);
        } else {
            snprintf(headers, sizeof headers, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n");
        }
        answer(fd, cseq, headers, "");
    } else {
        answer(fd, cseq, "Public: OPTIONS, ANNOUNCE, DESCRIBE, SETUP, PLAY, RECORD, TEARDOWN\r\n", "");
        c->plays |= !strncmp(head, "PLAY", 4);
        c->publishes |= !strncmp(head, "RECORD", 6);
    }
}

/* Takes what is whole out of the input: `$` frames and requests, in any mixture. */
static size_t parse(int fd, char *in, size_t len) {
    size_t at = 0;
    while (at < len) {
        char *p = in + at;
        if (*p == '$') {
            if (len - at < 4) break;
            size_t whole = 4 + ((unsigned char)p[2] << 8 | (unsigned char)p[3]);
            if (len - at < whole) break;
            if (connections[fd].publishes) take_packet(p, whole);
            at += whole;
        } else {
            char *stop = memmem(p, len - at, "\r\n\r\n", 4);
            if (!stop) break;
            *stop = 0;
            char *length = strcasestr(p, "\nContent-Length:");
            size_t body = length ? strtoul(length + 16, NULL, 10) : 0;
            if ((size_t)(in + len - (stop + 4)) < body) {
                *stop = '\r';
                break;
            }
            take_request(fd, p, stop + 4, body);
            at = stop + 4 + body - in;
        }
    }
    return at;
}

static void on_readable(int fd) {
    struct connection *c = &connections[fd];
    if (!c->in) return; /* ended earlier in this round */
    ssize_t got = recv(fd, c->in + c->in_len, IN_BYTES - c->in_len, MSG_DONTWAIT);
    if (got <= 0) {
        end(fd);
        return;
    }
    c->in_len += got;
    size_t used = parse(fd, c->in, c->in_len);
    if (!c->in) return; /* ended meanwhile */
    memmove(c->in, c->in + used, c->in_len -= used);
}

static void on_connection(int listener, int poller) {
    struct sockaddr_in peer;
    socklen_t len = sizeof peer;
    int fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC), one = 1, buffer = 4 << 20;
    if (fd < 0) return;
    if (fd >= MAX_CONNECTIONS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    connections[fd] = (struct connection){.in = malloc(IN_BYTES), .peer = peer};
    if (fd >= top) top = fd + 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

int main(int argc, char **argv) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 8554)}, udp = here;
    socklen_t len = sizeof udp;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), poller = epoll_create1(EPOLL_CLOEXEC), one = 1;
    udp_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    udp.sin_port = 0;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1024) ||
        bind(udp_socket, (struct sockaddr *)&udp, sizeof udp) || getsockname(udp_socket, (struct sockaddr *)&udp, &len)) {
        perror("floor");
        return 1;
    }
    udp_port = ntohs(udp.sin_port);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(poller, ready, 64, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == listener)
                on_connection(listener, poller);
            else
                on_readable(ready[i].data.fd);
        }
    }
}
