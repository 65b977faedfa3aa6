"""The wire as an attacker writes it: channel frames, protobuf fields, HTTP by hand. Nothing here checks what it sends, for that is the point.

    frame:   03 06 09 0c | type i32 | sequence i32 | headers' length u32 | body's length u32 | headers | body        (little-endian; edge data plane 2.1)
    header:  key i32 | length u32 | value
"""
import json
import socket
import ssl
import struct

MAGIC = b"\x03\x06\x09\x0c"
FRAME_LIMIT = 64 << 20

HELLO, PING, RESULT, HEARTBEAT = 0, 1, 2, 5
CONNECT, STATE_CONNECTED, STATE_CLOSED, DATA, DIAL, DIAL_SUCCESS, BIND = 60783, 60784, 60785, 60786, 60787, 60788, 60790
REPLY_FOR, SUCCESS, VERSION, HEARTBEAT_HEADER, HEARTBEAT_ANSWER = 1, 2, 4, 5, 6
CONNECTION, TOKEN, PUBLIC_KEY, FLAGS, ROUTER_CONNECTION, CIRCUIT = 1000, 1002, 1003, 1010, 1012, 1026

FAULT, METRICS, ROUTE_RESULT, CONFIRMATION, REMOVE_TERMINATORS = 1004, 1007, 1022, 1034, 1038
SERVER_HELLO, CLIENT_HELLO, SESSION_ADDED, SESSION_UPDATED, SESSION_HEARTBEAT, SESSION_RESYNC = 20000, 20001, 20200, 20201, 20203, 20204
UPDATE_TERMINATOR, TERMINATOR_UPDATED, CREATE_TERMINATOR, TERMINATOR_CREATED, CREATE_CIRCUIT, CIRCUIT_CREATED = 20209, 20210, 20216, 20217, 20218, 20219

# Five fields (fabric planes 2.2).
VERSION_TEXT = b"v2.1.0|soak|2026-01-01|linux|amd64"


class Cut(Exception):
    """The other side ended the connection, or refused."""


def u32(number):
    return struct.pack("<I", number & 0xFFFFFFFF)


def frame(kind, sequence, headers=(), body=b""):
    section = b"".join(struct.pack("<iI", key, len(value)) + value for key, value in headers)
    return MAGIC + struct.pack("<iiII", kind, sequence, len(section), len(body)) + section + body


class Frame:
    """A frame as it came: all its headers in their order, doubles too."""

    def __init__(self, kind, sequence, headers, body):
        self.kind, self.sequence, self.headers, self.body = kind, sequence, headers, body

    def get(self, key):
        return next((value for number, value in self.headers if number == key), None)

    def number(self, key):
        value = self.get(key)
        return int.from_bytes(value[:4], "little") if value is not None else None


class Frames:
    """Takes frames out of bytes as they come."""

    def __init__(self):
        self.buffer = bytearray()

    def feed(self, data):
        self.buffer += data
        found = []
        while len(self.buffer) >= 20:
            if self.buffer[:4] != MAGIC:
                raise Cut("no frame")
            kind, sequence, headers, body = struct.unpack_from("<iiII", self.buffer, 4)
            if headers + body > FRAME_LIMIT:
                raise Cut("a frame without end")
            if len(self.buffer) < 20 + headers + body:
                break
            section = bytes(self.buffer[20:20 + headers])
            found.append(Frame(kind, sequence, parse_headers(section), bytes(self.buffer[20 + headers:20 + headers + body])))
            del self.buffer[:20 + headers + body]
        return found


def parse_headers(section):
    headers, at = [], 0
    while at + 8 <= len(section):
        key, length = struct.unpack_from("<iI", section, at)
        headers.append((key, section[at + 8:at + 8 + length]))
        at += 8 + length
    return headers


def tcp(port, source, timeout=10):
    """A connection to this machine from one of its many addresses (127.0.0.0/8)."""
    connection = socket.create_connection(("127.0.0.1", port), timeout, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def context(alpn=None, certificate=None):
    """- Parameter certificate: files of a chain and its key."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if alpn:
        made.set_alpn_protocols([alpn])
    if certificate:
        made.load_cert_chain(*certificate)
    return made


def tls(port, source, settings, timeout=10):
    return settings.wrap_socket(tcp(port, source, timeout), server_hostname="127.0.0.1")


class Channel:
    """A channel after its hello, read and written by whoever holds it."""

    def __init__(self, port, source, settings, headers, body=b"soak", timeout=10):
        self.socket = tls(port, source, settings, timeout)
        self.frames, self.ready, self.sequence = Frames(), [], 0
        try:
            self.socket.sendall(frame(HELLO, -1, headers, body))
            self.hello = self.read(timeout)
            if self.hello is None or self.hello.kind != RESULT or self.hello.get(SUCCESS) != b"\x01":
                raise Cut(f"hello refused: {self.hello.body[:100] if self.hello else 'no answer'}")
        except BaseException:
            self.socket.close()
            raise

    def send(self, kind, headers=(), body=b""):
        """- Returns: its sequence."""
        self.sequence += 1
        self.socket.sendall(frame(kind, self.sequence, headers, body))
        return self.sequence

    def read(self, timeout):
        """The next frame; None when none came in time. Throws `Cut` at the end."""
        if not self.ready:
            self.socket.settimeout(max(timeout, 0.001))
            try:
                data = self.socket.recv(1 << 16)
            except (TimeoutError, ssl.SSLWantReadError):
                return None
            finally:
                self.socket.settimeout(10)
            if not data:
                raise Cut("closed")
            self.ready = self.frames.feed(data)
        return self.ready.pop(0) if self.ready else None

    def close(self):
        self.socket.close()


# Protobuf, as far as it is needed: a field is (number, value), an int is a varint, all else is length and bytes; a map is a list of entries.

def varint(number):
    out = bytearray()
    number &= (1 << 64) - 1
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def proto(*fields):
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return bytes(out)


def parse_proto(data):
    """Fields as they came; bytes that are none end the list."""
    fields, at = [], 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    try:
        while at < len(data):
            key = number()
            match key & 7:
                case 0: fields.append((key >> 3, number()))
                case 1: fields.append((key >> 3, data[at:at + 8])); at += 8
                case 2:
                    length = number()
                    fields.append((key >> 3, data[at:at + length]))
                    at += length
                case 5: fields.append((key >> 3, data[at:at + 4])); at += 4
                case _: break
    except IndexError:
        pass
    return fields


# HTTP/1.1 over a connection that the caller keeps.

class HTTP:
    def __init__(self, connection, host):
        self.socket, self.host, self.rest = connection, host, b""

    def request(self, method, path, body=None, headers=()):
        """- Returns: status, headers in lower case, and the body."""
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {self.host}", f"content-length: {len(text)}"]
        if body is not None and not any(name.lower() == "content-type" for name, _ in headers):
            lines.append("content-type: application/json")
        lines += [f"{name}: {value}" for name, value in headers]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + text)
        return self.answer()

    def answer(self):
        data = self.rest
        while b"\r\n\r\n" not in data:
            data += self.more()
        head, data = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        if fields.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while True:
                while b"\r\n" not in data:
                    data += self.more()
                size, data = data.split(b"\r\n", 1)
                length = int(size.split(b";")[0], 16)
                while len(data) < length + 2:
                    data += self.more()
                body, data = body + data[:length], data[length + 2:]
                if length == 0:
                    break
        else:
            length = int(fields.get("content-length", 0))
            while len(data) < length:
                data += self.more()
            body, data = data[:length], data[length:]
        self.rest = data
        return int(lines[0].split()[1]), fields, body

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise Cut("closed")
        return data

    def close(self):
        self.socket.close()


class Refused(Cut):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:200]!r}")
        self.status = status


class REST:
    """A session at the controller's API; it connects again where the server ended an idle connection."""

    def __init__(self, port, source, settings, path="/edge/client/v1"):
        self.origin, self.path, self.token, self.id = (port, source, settings), path, None, None
        self.connect()

    def connect(self):
        self.http = HTTP(tls(*self.origin), f"127.0.0.1:{self.origin[0]}")

    def raw(self, method, path, body=None):
        headers = [("zt-session", self.token)] if self.token else []
        try:
            return self.http.request(method, self.path + path, body, headers)
        except (Cut, OSError):
            self.http.close()
            self.connect()
            return self.http.request(method, self.path + path, body, headers)

    def call(self, method, path, body=None):
        status, _, answer = self.raw(method, path, body)
        if status >= 300:
            raise Refused(status, answer)
        return json.loads(answer)["data"] if answer else None

    def log_in(self, method, body):
        data = self.call("POST", f"/authenticate?method={method}", body)
        self.token, self.id = data["token"], data["id"]
        return data

    def close(self):
        self.http.close()


# HTTP/2 frames (RFC 9113 4.1, 6).

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_DATA, H2_HEADERS, H2_SETTINGS, H2_PING, H2_WINDOW = 0, 1, 4, 6, 8


def h2_frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def h2_headers(fields):
    """Literals without indexing or compression (RFC 7541 6.2.2)."""
    out = bytearray()
    for name, value in fields:
        for text in (None, name, value):
            if text is None:
                out.append(0)
            else:
                data = text.encode()
                assert len(data) < 127
                out += bytes([len(data)]) + data
    return bytes(out)
