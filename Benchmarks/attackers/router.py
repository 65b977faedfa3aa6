"""Attackers with a router's identity: they enrolled as edge routers, speak on their control channel, and say what is not so."""
import itertools
import os
import threading
import time

from .attack import GONE, Attack, unread
from .sdk import SDK, connect
from .wire import (
    CIRCUIT_CREATED, CLIENT_HELLO, CONFIRMATION, CONNECTION, CREATE_CIRCUIT, CREATE_TERMINATOR, DATA, FAULT, HEARTBEAT, HEARTBEAT_ANSWER, HEARTBEAT_HEADER,
    METRICS, PING, REMOVE_TERMINATORS, REPLY_FOR, ROUTE_RESULT, SERVER_HELLO, SESSION_ADDED, SESSION_HEARTBEAT, SESSION_RESYNC, SESSION_UPDATED, STATE_CLOSED,
    TERMINATOR_CREATED, TERMINATOR_UPDATED, UPDATE_TERMINATOR, VERSION, VERSION_TEXT, Channel, Cut, context, frame, parse_proto, proto, u32)

# Headers of control messages (fabric planes 3.3).
PEER_DATA, SESSION, FINGERPRINTS, INSTANCE, API_SESSION = 10, 11, 12, 13, 14
MODEL, MODEL_INDEX, ATTEMPT = 1024, 1025, 1101


class Rogue(Attack):
    """- who: the enrolled router it is; only one connection of each is let in."""
    group, who = "router", ""

    def attack(self):
        router = self.field.routers[self.who]
        channel = Channel(
            router["port"], self.source(), context("ziti-ctrl", (router["certificate"], router["key"])),
            [(VERSION, VERSION_TEXT), (1002, b"\x02")], router["id"].encode())
        try:
            self.harm(channel)
        finally:
            channel.close()

    def answer(self, channel, message):
        """What a router that behaves answers, so that the channel lives."""
        if message.get(HEARTBEAT_HEADER) is not None:
            channel.send(HEARTBEAT, [(HEARTBEAT_ANSWER, message.get(HEARTBEAT_HEADER))])
        if message.kind == SERVER_HELLO:
            channel.send(
                CLIENT_HELLO, [(REPLY_FOR, u32(message.sequence)), (MODEL, b"\x01"), (MODEL_INDEX, bytes(8))],
                proto((1, VERSION_TEXT.split(b"|")[0]), (2, "rogue")))


class Eavesdropper(Rogue):
    name = "a router that listens for session tokens"
    must = "hear a token of a session it may not serve"
    who, pace = "listener", 2

    def harm(self, channel):
        watched = [token.encode() for token in self.field.tokens]
        again = time.monotonic()
        while not self.ending.is_set():
            message = channel.read(0.2)
            if message:
                self.tried()
                self.answer(channel, message)
                text = message.body + b"".join(value for _, value in message.headers)
                for token in watched:
                    if token in text:
                        self.violation(f"message {message.kind} carries the token of an administrator's or a foreign session")
                if message.kind in (SESSION_ADDED, SESSION_UPDATED):
                    for number, value in parse_proto(message.body):
                        if number == (2 if message.kind == SESSION_ADDED else 1) and isinstance(value, bytes):
                            session = dict(parse_proto(value))
                            if session.get(4, b"").decode() in self.field.foreign:
                                self.violation("it is told of a session of an identity that may not use it")
            if time.monotonic() > again:
                again = time.monotonic() + 5
                channel.send(SESSION_RESYNC, (), proto((1, "again")))
                channel.send(SESSION_HEARTBEAT, (), proto(*[(1, os.urandom(16).hex()) for _ in range(50)]))


class PingFlood(Rogue):
    name = "pings of a router that reads no answer"
    must = "fill the controller's memory"
    who, pace = "pinger", 30000

    def harm(self, channel):
        chunk = b"".join(frame(PING, number) for number in range(1000))
        unread(self, channel.socket, chunk, self.pace, 1000)


class Bills(Rogue):
    """Says that circuits moved 2^50 bytes each which do not exist: to the controller of a share service that counts."""
    name = "usage of circuits that do not exist"
    must = "bill an account, or end the controller"
    who, pace = "biller", 10

    def harm(self, channel):
        for _ in self.steps():
            while message := channel.read(0.001):
                self.answer(channel, message)
            services = self.field.billed or ["none"]
            values = proto((1, proto((1, "ingress.rx"), (2, 1 << 50)))) + proto((1, proto((1, "egress.rx"), (2, 1 << 50)))) + proto(
                (1, proto((1, "egress.tx"), (2, 1 << 50))))
            buckets = [
                (3, proto((1, f"made-up-{os.urandom(4).hex()}"), (2, values + proto((2, proto((1, "serviceId"), (2, services[turn % len(services)])))))))
                for turn in range(1000)]
            usage = proto((1, int(time.time()) // 60 * 60), (2, 60), *buckets)
            channel.send(METRICS, (), proto((1, os.urandom(4).hex()), (2, self.field.routers[self.who]["id"]), (11, usage)))
            self.tried(len(buckets))


class Saboteur(Rogue):
    """Faults, confirmations and route results for a circuit of somebody else, whose ends are watched."""
    name = "faults and confirmations of others' circuits"
    must = "end a circuit that is not its own"
    who, pace = "saboteur", 20

    def harm(self, channel):
        patient = Patient(self)
        patient.start()
        try:
            tick = itertools.count()
            for _ in self.steps():
                while message := channel.read(0.001):
                    self.answer(channel, message)
                circuit = patient.circuit
                if circuit is None:
                    continue
                self.tried()
                self.send(channel, circuit, next(tick) % 7)
        finally:
            patient.stop.set()
            patient.join(10)

    @staticmethod
    def send(channel, circuit, turn):
        match turn:
            case 0 | 1: channel.send(FAULT, (), proto((1, turn), (2, circuit)))
            case 2: channel.send(FAULT, (), proto((1, 3), (2, circuit + " none")))
            case 3: channel.send(FAULT, (), proto((1, 4), (2, circuit)))
            case 4: channel.send(CONFIRMATION, (), proto((1, circuit), (2, proto((1, circuit), (2, 1 << 60)))))
            case 5: channel.send(ROUTE_RESULT, [(REPLY_FOR, u32(1)), (ATTEMPT, u32(0)), (1103, b"no"), (1104, b"\x03")], circuit.encode())
            case _: channel.send(ROUTE_RESULT, [(REPLY_FOR, u32(1)), (ATTEMPT, u32(0)), (1102, b"\x01")], circuit.encode())


class Patient(threading.Thread):
    """An honest circuit: a round trip each half second."""

    def __init__(self, attack):
        super().__init__(daemon=True)
        self.attack, self.stop, self.circuit = attack, threading.Event(), None

    def run(self):
        while not self.stop.is_set():
            try:
                self.live()
            except GONE as error:
                if self.circuit is not None and not self.stop.is_set() and not self.attack.ending.is_set():
                    self.attack.violation(f"somebody else's circuit ended: {error}")
                self.circuit = None
                self.stop.wait(1)

    def live(self):
        sdk = SDK(self.attack.field, "victim", "127.0.0.1")
        try:
            channel = sdk.channel()
            circuit = connect(channel, 7, sdk.session("plain"))
            while not self.stop.is_set():
                channel.send(DATA, [(CONNECTION, u32(7))], b"pulse")
                end = time.monotonic() + 15
                while (answer := channel.read(0.5)) is None or answer.kind != DATA:
                    if answer and answer.kind == STATE_CLOSED:
                        raise Cut(f"closed: {answer.body[:80]}")
                    if self.stop.is_set():
                        return
                    if time.monotonic() > end:
                        raise Cut("no answer")
                self.circuit = circuit
                self.stop.wait(0.5)
        finally:
            sdk.close()


class Impostor(Rogue):
    name = "terminators and circuits in others' names"
    must = "make, change or end what is not its own"
    who, pace = "impostor", 10

    def harm(self, channel):
        tick, asked = itertools.count(), {}
        sdk = SDK(self.field, "rogue", self.source())
        try:
            dial = sdk.session("plain")
            while not self.ending.is_set():
                for _ in self.steps():
                    while message := channel.read(0.001):
                        self.answer(channel, message)
                        self.judge(message, asked)
                    self.tried()
                    self.send(channel, next(tick), asked, sdk.rest.token.encode(), dial)
        finally:
            sdk.close()

    def send(self, channel, turn, asked, session, dial):
        theirs = self.field.terminators
        forged = [(os.urandom(16).hex(), os.urandom(16).hex()), (dial.decode(), session.decode()), (os.urandom(16).hex(), session.decode())][turn % 3]
        match turn % 4:
            case 0:
                # A terminator with a session that is none, or is one for dialling.
                channel.send(
                    CREATE_TERMINATOR, (), proto((1, f"rogue{turn}"), (2, forged[0]), (5, 0), (9, forged[1])))
            case 1 if theirs:
                channel.send(REMOVE_TERMINATORS, (), proto(*[(1, identifier) for identifier in theirs]))
            case 2 if theirs:
                sequence = channel.send(
                    UPDATE_TERMINATOR, (), proto((1, forged[0]), (3, theirs[turn % len(theirs)]), (4, 60000), (5, 2), (6, 1), (7, 1), (8, forged[1])))
                asked[sequence] = "a terminator of another router was changed"
            case _:
                forged = (forged[0], os.urandom(16).hex())
                sequence = channel.send(
                    CREATE_CIRCUIT, [
                        (PEER_DATA, u32(0)), (SESSION, forged[0].encode()), (FINGERPRINTS, u32(0)), (INSTANCE, b""), (API_SESSION, forged[1].encode())])
                asked[sequence] = "a circuit was made with a forged session"

    def judge(self, message, asked):
        what = asked.pop(message.number(REPLY_FOR), None)
        if message.kind == TERMINATOR_CREATED:
            if dict(parse_proto(message.body)).get(2, 0) == 0:
                self.violation("a terminator was made in somebody else's name")
            else:
                self.refused()
        elif message.kind in (TERMINATOR_UPDATED, CIRCUIT_CREATED):
            self.violation(what or f"answered with success: {message.kind}")
        elif what:
            self.refused()


ATTACKS = [Eavesdropper, PingFlood, Bills, Saboteur, Impostor]
