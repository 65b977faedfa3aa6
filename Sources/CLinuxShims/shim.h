// What Swift's module of the C library leaves out of Linux.
#ifdef __linux__
#include <malloc.h>
#include <sys/xattr.h>
#endif
