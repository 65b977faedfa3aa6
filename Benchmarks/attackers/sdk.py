"""Attackers with an identity: an SDK that enrolled, may dial some services, and means harm to whoever else is at the router or at the host."""
import itertools
import json
import threading
import time

from .attack import GONE, Attack, unread
from .wire import (
    BIND, CIRCUIT, CONNECT, CONNECTION, DATA, DIAL, DIAL_SUCCESS, REPLY_FOR, REST, ROUTER_CONNECTION, STATE_CLOSED, STATE_CONNECTED, SUCCESS, TOKEN,
    VERSION, VERSION_TEXT, Channel, Cut, Refused, context, frame, u32)

# What makes the server of `beside` send without end (target.py).
GIVE = b"GIVE"


def credentials(path):
    """Writes certificate and key of an identity file beside it. - Returns: their files."""
    with open(path) as file:
        identity = json.load(file)["id"]
    files = []
    for member in ("cert", "key", "ca"):
        files.append(f"{path}.{member}.pem")
        with open(files[-1], "w") as file:
            file.write(identity[member].removeprefix("pem:"))
    return tuple(files[:2])


class SDK:
    """An identity at the controller, and as many channels to the router as wanted. One thread uses it."""

    def __init__(self, field, identity, source):
        self.field, self.source, self.certificate = field, source, tuple(field.identities[identity])
        self.rest = REST(field.listeners["controller"], source, context("http/1.1", self.certificate))
        self.rest.log_in("cert", {})
        self.channels = []

    def session(self, service, kind="Dial"):
        """- Returns: the token of a service session."""
        return self.rest.call("POST", "/sessions", {"serviceId": self.field.services[service], "type": kind})["token"].encode()

    def channel(self):
        last = None
        for _ in range(3):
            try:
                made = Channel(
                    self.field.listeners["router"], self.source, context("ziti-edge", self.certificate),
                    [(TOKEN, self.rest.token.encode()), (VERSION, VERSION_TEXT)])
                self.channels.append(made)
                return made
            except Cut as error:
                last = error
                time.sleep(1)
        raise last

    def close(self):
        for channel in self.channels:
            channel.close()
        try:
            self.rest.call("DELETE", "/current-api-session")
        except GONE:
            pass
        self.rest.close()


def connect(channel, number, token, timeout=15, others=None):
    """Dials and waits. - Returns: the circuit. - Parameter others: takes frames that are not the answer."""
    sequence = channel.send(CONNECT, [(CONNECTION, u32(number))], token)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        answer = channel.read(0.5)
        if answer is None:
            continue
        if answer.number(REPLY_FOR) == sequence:
            if answer.kind == STATE_CONNECTED:
                return (answer.get(CIRCUIT) or b"").decode()
            raise Cut(f"dial refused: {answer.body[:150]}")
        if others:
            others(answer)
    raise Cut("dial without an answer")


class Enrolled(Attack):
    """- who: the identity it uses."""
    group, who = "sdk", "rogue"
    is_neighbour = True

    def attack(self):
        sdk = SDK(self.field, self.who, self.source())
        try:
            self.harm(sdk)
        finally:
            sdk.close()


class UnreadAnswers(Enrolled):
    name = "Data for unknown connections, answers unread"
    must = "fill the router's memory"
    pace = 20000

    def harm(self, sdk):
        channel = sdk.channel()
        numbers = itertools.count(1000)
        chunk = b"".join(frame(DATA, number, [(CONNECTION, u32(next(numbers)))], b"x") for number in range(600))
        unread(self, channel.socket, chunk, self.pace, 600)


class OtherPeoplesConnections(Enrolled):
    """A dialler writes frames that name two connections, or that say more than data may, towards a host that serves a victim too; and a host writes such frames
    towards a dialler whose other connection leads to an honest host. The honest ends look at what arrives."""
    name = "frames with two connection ids, reply and token headers"
    must = "reach anyone else"
    group, pace = "pair", 20

    def harm(self, sdk):
        # Each with a thread and a channel of its own.
        stop = threading.Event()
        host, lure, victim = Witness(self, stop), Lure(self, stop), Victim(self, stop)
        try:
            for end in (host, lure):
                end.start()
                if not end.ready.wait(20):
                    raise Cut("a host got no listener")
            victim.start()
            token = sdk.session("pair")
            channel, number, tick = None, 0, itertools.count()
            for _ in self.steps():
                if channel is None:
                    channel = sdk.channel()
                    number += 1
                    connect(channel, number, token)
                other = host.victim()
                self.tried()
                try:
                    channel.send(DATA, hostile(number, other if other is not None else 0x80000000 + next(tick) % 64, next(tick)), b"rogue")
                    while answer := channel.read(0.001):
                        if answer.kind == STATE_CLOSED:
                            raise Cut("closed")
                except GONE:
                    self.refused()
                    channel.close()
                    channel = None
                    self.rest(0.2)
        finally:
            stop.set()
            for end in (host, lure, victim):
                if end.is_alive():
                    end.join(10)


def hostile(own, other, turn):
    """Headers of a Data frame that means harm. - Parameters own, other: connections of this channel, or as the far end names them."""
    own, other = (CONNECTION, u32(own)), (CONNECTION, u32(other))
    return [
        [other, own], [own, other], [own, (REPLY_FOR, u32(turn % 50))], [own, (SUCCESS, b"\x01")], [own, (TOKEN, b"stolen")],
        [own, (ROUTER_CONNECTION, u32(0x80000001))], [other, other, own]][turn % 7]


# What may cross from one end to the other is data: nothing that answers, names or opens.
FOREIGN_HEADERS = {REPLY_FOR: "ReplyFor", SUCCESS: "ResultSuccess", TOKEN: "SessionToken", ROUTER_CONNECTION: "RouterProvidedConnId"}


class End(threading.Thread):
    """One of the two honest ends beside `OtherPeoplesConnections`, on a thread of its own."""

    def __init__(self, attack, stop):
        super().__init__(daemon=True)
        self.attack, self.stop = attack, stop

    def judge(self, data, where):
        """- Returns: whether the frame is one that should have arrived."""
        connections = [value for key, value in data.headers if key == CONNECTION]
        if len(connections) > 1:
            self.attack.violation(f"{where}: a frame with {len(connections)} connection ids arrived")
        for key, name in FOREIGN_HEADERS.items():
            if data.get(key) is not None:
                self.attack.violation(f"{where}: a Data frame with {name} arrived")

    def run(self):
        while not self.stop.is_set():
            try:
                self.live()
            except GONE as error:
                self.attack.note(f"{type(self).__name__}: {error}")
                self.stop.wait(1)


class Host(End):
    """Takes every dial of a service."""
    service, identity, source = "", "", ""

    def __init__(self, attack, stop):
        super().__init__(attack, stop)
        self.ready, self.connections = threading.Event(), {}

    def live(self):
        sdk = SDK(self.attack.field, self.identity, self.source)
        try:
            channel, token = sdk.channel(), sdk.session(self.service, "Bind")
            channel.send(BIND, [(CONNECTION, u32(1)), (ROUTER_CONNECTION, b"\x01")], token)
            self.connections = {}
            while not self.stop.is_set():
                message = channel.read(0.1)
                if message is None:
                    self.idle(channel)
                elif message.kind == STATE_CONNECTED:
                    # The controller hears of the listener a moment later.
                    time.sleep(0.5)
                    self.ready.set()
                elif message.kind == DIAL:
                    self.accept(channel, message)
                elif message.kind == STATE_CLOSED:
                    self.connections.pop(message.number(CONNECTION), None)
                    if message.number(CONNECTION) == 1:
                        raise Cut(f"the listener ended: {message.body[:80]}")
                elif message.kind == DATA:
                    self.take(channel, message)
        finally:
            sdk.close()

    def accept(self, channel, message):
        number = message.number(ROUTER_CONNECTION)
        self.connections[number] = "?"
        channel.send(DIAL_SUCCESS, [(REPLY_FOR, u32(message.sequence)), (CONNECTION, u32(message.number(CONNECTION) or 1))], u32(number))

    def idle(self, channel):
        pass

    def take(self, channel, message):
        pass


class Witness(Host):
    """The honest host: answers each message, and looks at what it gets."""
    service, identity, source = "pair", "pair-host", "127.9.0.1"

    def victim(self):
        """The victim's connection as the router named it: what an attacker would have to guess."""
        return next((number for number, who in list(self.connections.items()) if who == "victim"), None)

    def take(self, channel, message):
        self.judge(message, "host")
        number = message.number(CONNECTION)
        who = message.body.decode("latin-1").split()[0] if message.body else "?"
        if self.connections.get(number) == "victim" and who == "rogue":
            self.attack.violation("host: bytes of one dialler arrived on another's connection")
        elif number in self.connections:
            self.connections[number] = who
            channel.send(DATA, [(CONNECTION, u32(number))], message.body)


class Lure(Host):
    """The host that means harm: on each connection it writes what names the dialler's first one too."""
    service, identity, source = "lure", "lure-host", "127.7.250.1"
    turn = 0

    def idle(self, channel):
        for number in list(self.connections):
            self.turn += 1
            channel.send(DATA, hostile(number, 1, self.turn), b"rogue")


class Victim(End):
    """An honest dialler: a connection to the honest host, whose round trips go on, and now and then one to the host that means harm."""

    def live(self):
        sdk = SDK(self.attack.field, "victim", "127.0.0.1")
        try:
            channel = sdk.channel()
            connect(channel, 1, sdk.session("pair"))
            lure, count = sdk.session("lure"), 0
            while not self.stop.is_set():
                if count % 20 == 0:
                    # Refused or not: the host that means harm may have lost its channel.
                    channel.send(CONNECT, [(CONNECTION, u32(2 + count // 20))], lure)
                count += 1
                self.round_trip(channel, f"victim {count}".encode())
                self.stop.wait(0.1)
        finally:
            sdk.close()

    def round_trip(self, channel, word):
        channel.send(DATA, [(CONNECTION, u32(1))], word)
        end = time.monotonic() + 15
        while True:
            answer = channel.read(0.5)
            if answer is None:
                if self.stop.is_set():
                    return
                if time.monotonic() > end:
                    self.attack.violation("a victim's connection died")
                    raise Cut("no answer")
            elif answer.kind == STATE_CLOSED and answer.number(CONNECTION) == 1:
                if not self.stop.is_set() and not self.attack.ending.is_set():
                    self.attack.violation(f"a victim's connection was closed: {answer.body[:80]}")
                raise Cut("closed")
            elif answer.kind == DATA:
                self.judge(answer, "dialler")
                if answer.number(CONNECTION) == 1:
                    if answer.body == word:
                        return
                    self.attack.violation(f"dialler: bytes arrived on a connection that are not its own: {answer.body[:40]}")


class UnansweredDials(Enrolled):
    name = "dials by the hundred that nobody answers"
    must = "slow down others' dials"
    group, pace = "dials", 200
    # Open at a time, over three channels.
    limit = 1200

    def harm(self, sdk):
        hole = Hole(self)
        hole.start()
        try:
            if not hole.ready.wait(20):
                raise Cut("the silent host got no listener")
            token = sdk.session("hole")
            channels = [sdk.channel() for _ in range(3)]
            turns, number, waiting = itertools.cycle(channels), 0, 0
            for _ in self.steps():
                if waiting < self.limit:
                    number += 1
                    waiting += 1
                    self.tried()
                    next(turns).send(CONNECT, [(CONNECTION, u32(number))], token)
                    self.counts["held"] = max(self.counts["held"], waiting)
                for channel in channels:
                    while answer := channel.read(0.0005):
                        if answer.kind == STATE_CLOSED:
                            waiting -= 1
                            self.refused()
                        elif answer.kind == STATE_CONNECTED:
                            self.violation("a dial that nobody answered was connected")
        finally:
            hole.stop.set()
            hole.join(10)


class Hole(Host):
    """A host that answers no dial."""
    service, identity, source = "hole", "hole-host", "127.9.0.2"

    def __init__(self, attack):
        super().__init__(attack, threading.Event())

    def accept(self, channel, message):
        pass


class Stuffing(Hole):
    """Writes to whoever dials, and does not answer: what it writes waits in the router."""
    service, identity, source = "hole2", "hole2-host", "127.7.251.1"
    chunk, chunks = bytes(1 << 16), 48

    def accept(self, channel, message):
        self.attack.tried()
        for _ in range(self.chunks):
            if self.stop.is_set():
                return
            channel.send(DATA, [(CONNECTION, u32(message.number(ROUTER_CONNECTION)))], self.chunk)


class BytesBeforeAnswers(Enrolled):
    name = "bytes for dials that nobody answered"
    must = "fill the router's memory"
    group, pace = "stuffing", 8

    def harm(self, sdk):
        hole = Stuffing(self)
        hole.start()
        try:
            if not hole.ready.wait(20):
                raise Cut("the silent host got no listener")
            token, channel, number = sdk.session("hole2"), sdk.channel(), 0
            for _ in self.steps():
                number += 1
                channel.send(CONNECT, [(CONNECTION, u32(number))], token)
                while answer := channel.read(0.001):
                    if answer.kind == STATE_CLOSED:
                        self.refused()
        finally:
            hole.stop.set()
            hole.join(10)


class Sessions(Attack):
    name = "API sessions by the thousand"
    must = "have more than its share"
    group, pace, is_neighbour = "sessions", 100, True

    def attack(self):
        settings = context("http/1.1", tuple(self.field.identities["hoarder"]))
        port = self.field.listeners["controller"]
        rest = REST(port, self.source(), settings)
        try:
            for _ in self.steps():
                self.tried()
                try:
                    rest.token = None
                    rest.log_in("cert", {})
                    self.counts["held"] += 1
                except Refused:
                    self.refused()
        finally:
            rest.close()


class NeverReads(Enrolled):
    """Asks the service of an honest client, at its host, for bytes without end, and reads none."""
    name = "a dialler that never reads"
    must = "stall others of its host for longer than the grace"
    group, pace = "sdk", 5
    limit, again = 10, 60

    def harm(self, sdk):
        token, channel = sdk.session("beside"), sdk.channel()
        for number, _ in zip(range(1, self.limit + 1), self.steps()):
            self.tried()
            connect(channel, number, token)
            self.counts["held"] = number
        for number in range(1, self.limit + 1):
            channel.send(DATA, [(CONNECTION, u32(number))], GIVE)
        if not self.rest(self.again):
            raise Cut("its channel is full of what it does not read: it begins again")


ATTACKS = [UnreadAnswers, OtherPeoplesConnections, UnansweredDials, BytesBeforeAnswers, Sessions, NeverReads]
