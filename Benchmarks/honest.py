"""The honest clients of `./run soak`: each does one thing at a steady pace, beside the others, and notes how long it took and what failed.

Times count from when a thing was due, not from when the client got round to it: a client that waits for an answer for a second has ten late ones."""
import os
import signal
import ssl
import threading
import time

from attackers.wire import HTTP, REST, Cut, context, tcp
from network import percentile

TROUBLE = (Cut, OSError, ssl.SSLError, ValueError)
CHUNK = 64 << 10


class Client(threading.Thread):
    """- pace: times a second. - patience: how long it waits for an answer, in seconds."""
    kind, pace, patience = "", 1.0, 10.0

    def __init__(self, field):
        super().__init__(daemon=True)
        self.field, self.lock, self.ending = field, threading.Lock(), threading.Event()
        self.times, self.failures, self.reasons = [], 0, []
        self.due = None

    def run(self):
        step, due = 1 / self.pace, time.monotonic()
        while not self.ending.is_set():
            begin = time.monotonic()
            self.due = due
            try:
                self.once()
                took, reason = time.monotonic() - due, None
            except TROUBLE as error:
                took, reason = None, f"{type(error).__name__}: {error}"
                self.reset()
            with self.lock:
                if reason is None:
                    self.times.append(took)
                else:
                    self.failures += 1
                    self.reasons = [*self.reasons[-4:], f"after {time.monotonic() - begin:.1f} s: {reason}"]
            self.due = None
            due += step
            if reason is not None or time.monotonic() - due > self.patience:
                due = max(due, time.monotonic() + step)
            self.ending.wait(max(0, due - time.monotonic()))

    def once(self):
        raise NotImplementedError

    def reset(self):
        """Gives up what a failure left behind."""

    def take(self, is_last):
        """What was measured since the last time. - Parameter is_last: of a phase; what still waits then counts as having taken that long, with all that is due after it."""
        with self.lock:
            times, failures, reasons = self.times, self.failures, self.reasons
            self.times, self.failures, self.reasons = [], 0, []
        waits = time.monotonic() - (self.due or time.monotonic())
        if is_last and waits > 1:
            times += [waits - number / self.pace for number in range(int(waits * self.pace))]
            reasons = [*reasons, f"waited for {waits:.1f} s when the phase ended"]
        return times, failures, reasons


def exchange(connection, message):
    connection.sendall(message)
    left = len(message)
    while left:
        data = connection.recv(1 << 18)
        if not data:
            raise Cut("closed")
        left -= len(data)


class Dial(Client):
    kind, pace = "dial and one round trip", 10

    def once(self):
        with tcp(self.field.proxy["echo"], "127.0.0.1", self.patience) as connection:
            exchange(connection, b"d" * 64)


class Stream(Client):
    """On one connection for as long as it lives."""
    kind, pace = "round trip on a long-lived stream", 20
    service, size = "echo", 64
    connection = None

    def once(self):
        if self.connection is None:
            self.connection = tcp(self.field.proxy[self.service], "127.0.0.1", self.patience)
        exchange(self.connection, b"s" * self.size)

    def reset(self):
        if self.connection:
            self.connection.close()
            self.connection = None


class Bulk(Stream):
    kind, pace, size = "64 KiB there and back on a bulk stream", 10, CHUNK


class Beside(Stream):
    """At the host where attackers dial and do not read: there a pause is allowed, but not without end."""
    kind, pace, service = "round trip at a host with diallers who never read", 5, "beside"
    patience = 60.0


class Login(Client):
    kind, pace = "login by certificate, list of services", 1
    is_password = False

    def settings(self):
        made = context("http/1.1", None if self.is_password else tuple(self.field.identities["bench-client"]))
        made.check_hostname, made.verify_mode = False, ssl.CERT_REQUIRED
        made.load_verify_locations(self.field.authorities)
        return made

    def once(self):
        rest = REST(self.field.listeners["controller"], "127.0.0.1", self.settings())
        try:
            rest.http.socket.settimeout(self.patience)
            if self.is_password:
                rest.log_in("password", {"username": self.field.password[0], "password": self.field.password[1]})
            else:
                rest.log_in("cert", {})
            if not self.is_password and not rest.call("GET", "/services?limit=10"):
                raise Cut("no services")
            rest.call("GET", "/current-identity")
            rest.call("DELETE", "/current-api-session")
        finally:
            rest.close()


class PasswordLogin(Login):
    kind, is_password = "login by password", True


class Visit(Client):
    kind, pace = "GET through the public frontend", 10

    def once(self):
        http = HTTP(tcp(self.field.listeners["frontend"], "127.0.0.1", self.patience), self.field.share_host)
        try:
            status, _, body = http.request("GET", "/")
            if status != 200 or body != self.field.page:
                raise Cut(f"status {status}")
        finally:
            http.close()


class Private(Client):
    kind, pace = "GET through a private access", 5

    def once(self):
        http = HTTP(tcp(self.field.access, "127.0.0.1", self.patience), "private")
        try:
            status, _, body = http.request("GET", "/")
            if status != 200 or body != self.field.page:
                raise Cut(f"status {status}")
        finally:
            http.close()


CLIENTS = [Dial, Stream, Bulk, Login, PasswordLogin, Visit, Private, Beside]
# Of these an attacked p99 is judged against an idle one.
JUDGED = [kind.kind for kind in CLIENTS if kind is not Beside]


def clients(field, pipe):
    """A process of its own: each question that comes through the pipe is answered with what was measured since the last one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = [kind(field) for kind in CLIENTS]
    for client in running:
        client.start()
    try:
        while True:
            is_last = pipe.recv()
            pipe.send({client.kind: client.take(is_last) for client in running})
    except (EOFError, OSError):
        pass
    os._exit(0)


class Honest:
    def __init__(self, field, spawn):
        self.pipe, far = spawn.Pipe()
        self.process = spawn.Process(target=clients, args=(field, far), name="honest", daemon=True)
        self.process.start()
        far.close()

    def take(self, is_last=False):
        self.pipe.send(is_last)
        if not self.pipe.poll(60):
            raise SystemExit("the honest clients do not answer")
        return self.pipe.recv()

    def stop(self):
        try:
            self.pipe.close()
        finally:
            self.process.join(5)
            if self.process.is_alive():
                self.process.kill()
                self.process.join(5)


class Phase:
    """What the honest clients measured in one part of the run."""

    def __init__(self, name):
        self.name, self.times, self.failures, self.reasons, self.cpu = name, {}, {}, {}, {}

    def add(self, taken):
        for kind, (times, failures, reasons) in taken.items():
            self.times.setdefault(kind, []).extend(times)
            self.failures[kind] = self.failures.get(kind, 0) + failures
            self.reasons.setdefault(kind, []).extend(reasons[:5])

    def count(self, kind):
        return len(self.times.get(kind, []))

    def at(self, kind, fraction):
        """Milliseconds; None without a measurement."""
        times = self.times.get(kind)
        return percentile(times, fraction) * 1000 if times else None
