"""What every attack is: a loop of its own at a settable pace, from addresses of its own, which counts what it tried, what was refused and what it must not have got."""
import itertools
import selectors
import ssl
import threading
import time
import traceback

from .wire import Cut

# The connection is gone, refused or silent: what an attacker lives with.
GONE = (Cut, OSError, ssl.SSLError)


class Field:
    """Where the attackers are let loose: ports, files and names, as plain values so that it crosses to their processes."""

    def __init__(self, **values):
        self.__dict__.update(values)


class Attack:
    """- name: in the table. - must: what it must not get, for people. - group: attacks of a group share a process. - pace: attempts a second at rate 1."""
    name, must, group, pace = "", "", "", 1.0
    # Also let loose from the honest clients' address, as from another machine behind the same NAT, at this share of its pace.
    is_neighbour, share = False, 0.1

    def __init__(self, field, sources, rate, as_neighbour=False):
        self.field, self.rate = field, rate * (self.share if as_neighbour else 1)
        self.sources = itertools.cycle(sources)
        self.counts = {"attempts": 0, "refused": 0, "held": 0, "violations": 0}
        self.notes = []
        self.ending = threading.Event()

    def source(self):
        return next(self.sources)

    def note(self, text):
        if len(self.notes) < 5:
            self.notes.append(text[:300])

    def violation(self, text):
        """It got what it must not get. A sink gives everything away, and nothing is meant by it."""
        if not self.field.is_sink:
            self.counts["violations"] += 1
            self.note(text)

    def tried(self, count=1):
        self.counts["attempts"] += count

    def refused(self, count=1):
        self.counts["refused"] += count

    def rest(self, seconds):
        """- Returns: whether it is over."""
        return self.ending.wait(seconds)

    def steps(self, pace=None):
        """Yields at its pace until it is over, without making up for time that was lost."""
        step = 1 / ((pace or self.pace) * self.rate)
        due = time.monotonic()
        while not self.ending.is_set():
            yield
            due = max(due + step, time.monotonic())
            if self.ending.wait(max(0, due - time.monotonic())):
                return

    def run(self):
        """Goes on until `ending`, through everything that ends a connection."""
        while not self.ending.is_set():
            try:
                self.attack()
            except GONE as error:
                self.refused()
                self.note(f"{type(error).__name__}: {error}")
            except Exception:
                self.note("bug: " + traceback.format_exc()[-280:])
                self.counts["bugs"] = self.counts.get("bugs", 0) + 1
            self.rest(1)
        self.end()

    def attack(self):
        raise NotImplementedError

    def end(self):
        pass


class Held:
    """A connection that an attacker keeps open, and what it still has to say."""

    def __init__(self, connection, what, drip=b"", respond=None):
        self.socket, self.what, self.drip, self.respond = connection, what, drip, respond
        self.born, self.said = time.monotonic(), 0


class Holding(Attack):
    """Opens connections, says too little, and holds them. Each must be ended by the other side within `field.hang` seconds."""
    # Most that are held at once.
    limit = 1000
    # Whether a connection that stays is one that it must not get.
    is_timed = True

    def open(self):
        """- Returns: a `Held`."""
        raise NotImplementedError

    def attack(self):
        self.selector = selectors.DefaultSelector()
        self.held = set()
        due, second = time.monotonic(), time.monotonic()
        step = 1 / (self.pace * self.rate)
        try:
            while not self.ending.is_set():
                now = time.monotonic()
                if now >= due and len(self.held) < self.limit:
                    due = max(due + step, now - 1)
                    self.tried()
                    try:
                        self.keep(self.open())
                    except GONE:
                        self.refused()
                else:
                    wait = min(due - now, 0.1) if len(self.held) < self.limit else 0.1
                    self.look(max(wait, 0.01))
                if now >= second:
                    second = now + 1
                    self.look(0)
                    self.each_second(now)
        finally:
            for one in list(self.held):
                self.drop(one)
            self.selector.close()

    def keep(self, one):
        one.socket.setblocking(False)
        self.held.add(one)
        self.selector.register(one.socket, selectors.EVENT_READ, one)
        self.counts["held"] = max(self.counts["held"], len(self.held))

    def drop(self, one):
        self.held.discard(one)
        self.selector.unregister(one.socket)
        one.socket.close()

    def look(self, wait):
        for key, _ in self.selector.select(wait):
            one = key.data
            try:
                data = one.socket.recv(1 << 16)
                if not data:
                    raise Cut("closed")
                if one.respond and (answer := one.respond(data)):
                    one.socket.send(answer)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                pass
            except GONE:
                self.drop(one)
                self.refused()

    def each_second(self, now):
        for one in list(self.held):
            if self.is_timed and now - one.born > self.field.hang:
                self.violation(f"{one.what} still open after {self.field.hang:.0f} s")
                self.drop(one)
            elif one.said < len(one.drip):
                try:
                    one.socket.send(one.drip[one.said:one.said + 1])
                    one.said += 1
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
                    pass
                except GONE:
                    self.drop(one)
                    self.refused()


def unread(attack, connection, chunk, pace, size):
    """Writes `chunk` (of `size` messages) again and again at `pace` messages a second, and reads nothing. While the other side takes nothing more it waits."""
    connection.settimeout(0.5)
    view = memoryview(chunk)
    for _ in attack.steps(pace / size):
        sent = 0
        while sent < len(view) and not attack.ending.is_set():
            try:
                sent += connection.send(view[sent:])
            except (TimeoutError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                attack.counts["held"] += 1
        attack.tried(size)
