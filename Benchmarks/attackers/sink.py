"""Where the attackers are sent while the honest clients are measured beside nothing but their load: it says yes to everything and keeps nothing.

What an attack costs on the attacker's side, its kernel and its TLS, is spent here as well; what it costs the attacked is not."""
import asyncio
import itertools
import json
import resource
import ssl

from .crew import SPAWN, alone
from .wire import (
    BIND, CIRCUIT, CONNECT, CONNECTION, HELLO, MAGIC, REPLY_FOR, RESULT, STATE_CONNECTED, SUCCESS, VERSION, VERSION_TEXT, Cut, Frames, frame, u32)

ANSWER = json.dumps({"data": {"token": "sink", "id": "sink"}}).encode()


class Guest(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data, self.frames, self.numbers, self.body = transport, b"", None, itertools.count(1), 0

    def data_received(self, data):
        if self.frames:
            return self.channel(data)
        if self.body:
            taken = min(self.body, len(data))
            self.body -= taken
            data = data[taken:]
            if self.body == 0:
                self.answer()
        self.data += data
        if self.data[:4] == MAGIC:
            self.frames = Frames()
            data, self.data = self.data, b""
            return self.channel(data)
        if self.data[:4] == b"PRI ":
            self.data = b"PRI "
            return
        while b"\r\n\r\n" in self.data and self.body == 0:
            head, self.data = self.data.split(b"\r\n\r\n", 1)
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            taken = min(length, len(self.data))
            self.body, self.data = length - taken, self.data[taken:]
            if self.body == 0:
                self.answer()
        self.data = self.data[-65536:]

    def answer(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER)

    def channel(self, data):
        try:
            for message in self.frames.feed(data):
                reply = [(REPLY_FOR, u32(message.sequence))]
                if message.kind == HELLO:
                    self.transport.write(frame(RESULT, -1, [*reply, (SUCCESS, b"\x01"), (VERSION, VERSION_TEXT)]))
                elif message.kind in (CONNECT, BIND):
                    self.transport.write(
                        frame(STATE_CONNECTED, next(self.numbers), [*reply, (CONNECTION, message.get(CONNECTION) or u32(0)), (CIRCUIT, b"sink")]))
        except Cut:
            self.transport.close()


def serve(certificate, key, ready, stop, spent):
    alone()

    async def main():
        settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        settings.load_cert_chain(certificate, key)
        settings.set_alpn_protocols(["http/1.1", "h2", "ziti-edge", "ziti-ctrl"])
        loop = asyncio.get_running_loop()
        secure = await loop.create_server(Guest, "127.0.0.1", 0, ssl=settings, backlog=4096)
        plain = await loop.create_server(Guest, "127.0.0.1", 0, backlog=4096)
        ready.put((secure.sockets[0].getsockname()[1], plain.sockets[0].getsockname()[1]))
        while not stop.is_set():
            await asyncio.sleep(0.2)
            usage = resource.getrusage(resource.RUSAGE_SELF)
            spent.value = usage.ru_utime + usage.ru_stime

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main())


class Sink:
    def __init__(self, certificate, key):
        ready, self.stop_event, self.spent = SPAWN.Queue(), SPAWN.Event(), SPAWN.Value("d", 0)
        self.process = SPAWN.Process(target=serve, args=(certificate, key, ready, self.stop_event, self.spent), name="sink", daemon=True)
        self.process.start()
        self.secure, self.plain = ready.get(timeout=30)

    def stop(self):
        self.stop_event.set()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5)
