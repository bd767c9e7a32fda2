/* A library that is preloaded into a process (LD_PRELOAD) and records whom the process would contact: host names that it
 * looks up, and addresses other than this machine's own. A lookup fails, as on a machine without a network.
 * It is written in C because Python's audit hooks do not see what C code does. `outward.py` compiles and uses it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int (*Lookup)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int (*Connect)(int, const struct sockaddr *, socklen_t);
typedef ssize_t (*SendTo)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);

static void record(const char *target) {
    char line[512];
    const char *path = getenv("OUTWARD_RECORD");
    if (path == NULL) return;
    int length = snprintf(line, sizeof line, "%s\n", target);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0 || write(file, line, length) != length) abort();
    close(file);
}

static int is_address(const char *name) {
    struct in6_addr address;
    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

static void record_foreign(const struct sockaddr *address) {
    char text[INET6_ADDRSTRLEN];
    if (address != NULL && address->sa_family == AF_INET) {
        const struct in_addr *found = &((const struct sockaddr_in *)address)->sin_addr;
        if (ntohl(found->s_addr) >> 24 == 127 || found->s_addr == INADDR_ANY) return;
        record(inet_ntop(AF_INET, found, text, sizeof text));
    } else if (address != NULL && address->sa_family == AF_INET6) {
        const struct in6_addr *found = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_LOOPBACK(found) || IN6_IS_ADDR_UNSPECIFIED(found)) return;
        record(inet_ntop(AF_INET6, found, text, sizeof text));
    }
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    if (name != NULL && !is_address(name) && strcmp(name, "localhost") != 0) {
        record(name);
        return EAI_NONAME;
    }
    return ((Lookup)dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    record_foreign(address);
    return ((Connect)dlsym(RTLD_NEXT, "connect"))(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
    record_foreign(address);
    return ((SendTo)dlsym(RTLD_NEXT, "sendto"))(socket, data, size, flags, address, length);
}
