"""40,000 services' worth of hosts at one router: how long until the controller knows them all, whether the last ones cost more than the first ones, and what a dial costs then.

One SDK binds them over one channel, each as a terminator of its own of one service (field.md C: 40,000 hosts took hours on the reference)."""
import threading
import time
import types

from attackers.sdk import SDK, connect, credentials
from attackers.wire import BIND, CONNECTION, DIAL, DIAL_SUCCESS, REPLY_FOR, ROUTER_CONNECTION, STATE_CLOSED, Cut, frame, u32
from network import enroll_identity, percentile, say
from target import Admin

LISTENER, BIND_SUCCESS_WANTED, BIND_SUCCESS = 1021, 1024, 60800
TERMINATORS, STEP, DIALS = 40_000, 10_000, 200
# How long nothing may come before the measurement is given up, in seconds.
PATIENCE = 60


class ManyBinds(threading.Thread):
    """The host: binds as many as are wanted, a few thousand of them unanswered at a time, counts what the router confirms, and takes every dial."""
    UNANSWERED, BURST = 4_000, 500

    def __init__(self, sdk, token):
        super().__init__(daemon=True)
        self.channel, self.token, self.wanted, self.sent, self.known, self.refused, self.error = sdk.channel(), token, 0, 0, 0, [], None
        self.turn = threading.Condition()

    def bind(self):
        numbers = range(self.sent + 1, min(self.sent + self.BURST, self.wanted) + 1)
        self.sent = numbers[-1]
        self.channel.sequence = max(self.channel.sequence, self.sent)
        self.channel.socket.sendall(b"".join(
            frame(BIND, number, [(CONNECTION, u32(number)), (ROUTER_CONNECTION, b"\x01"), (LISTENER, u32(number)), (BIND_SUCCESS_WANTED, b"\x01")],
                  self.token) for number in numbers))

    def run(self):
        try:
            while True:
                while self.sent < self.wanted and self.sent - self.known < self.UNANSWERED:
                    self.bind()
                message = self.channel.read(0.05)
                if message is None:
                    continue
                if message.kind == DIAL:
                    number = message.number(ROUTER_CONNECTION)
                    self.channel.send(DIAL_SUCCESS, [(REPLY_FOR, u32(message.sequence)), (CONNECTION, u32(message.number(CONNECTION)))], u32(number))
                with self.turn:
                    self.known += message.kind == BIND_SUCCESS
                    # Those that end a circuit carry its number, beyond those of the binds.
                    if message.kind == STATE_CLOSED and (message.number(CONNECTION) or 0) <= TERMINATORS:
                        self.refused.append(message.body[:100])
                    self.turn.notify_all()
        except (Cut, OSError) as error:
            with self.turn:
                self.error = error
                self.turn.notify_all()

    def wait(self, count):
        with self.turn:
            while self.known < count:
                if self.refused or self.error or not self.turn.wait(PATIENCE):
                    raise SystemExit(f"hosting: {self.known} of {count} terminators are known; {self.error or self.refused[:1] or 'no more came'}")


def dials(sdk, token):
    """- Returns: p50 and p99, in milliseconds."""
    channel, times = sdk.channel(), []
    for number in range(1, DIALS + 1):
        begin = time.perf_counter()
        connect(channel, number, token)
        times.append((time.perf_counter() - begin) * 1e3)
        channel.send(STATE_CLOSED, [(CONNECTION, u32(number))])
    channel.close()
    return percentile(times, 0.5), percentile(times, 0.99)


def measure(network):
    """On a network of `network.set_up`, with its administrator logged in. - Returns: seconds of each ten thousand, and dials beside one and beside all of them."""
    say(f"{TERMINATORS} binds by one host")
    admin = Admin(network.ports["controller"])
    files = {name: list(credentials(enroll_identity(network, name, "-a", name))) for name in ("many-host", "many-client")}
    ids = admin.by_name("identities")
    service = admin.call("POST", "/services", {"name": "many", "encryptionRequired": False})["id"]
    for kind, who in (("Bind", "many-host"), ("Dial", "many-client")):
        admin.call("POST", "/service-policies", {
            "name": f"many-{kind}", "type": kind, "semantic": "AnyOf", "serviceRoles": [f"@{service}"], "identityRoles": [f"@{ids[who]}"]})
    field = types.SimpleNamespace(listeners=network.ports, identities=files, services={"many": service})
    host, client = SDK(field, "many-host", "127.0.0.1"), SDK(field, "many-client", "127.0.0.1")
    many = ManyBinds(host, host.session("many", "Bind"))
    many.wanted = 1
    many.start()
    many.wait(1)
    token = client.session("many")
    few = dials(client, token)
    begin = time.monotonic()
    many.wanted = TERMINATORS
    times, last = [], begin
    for count in range(STEP, TERMINATORS + 1, STEP):
        many.wait(count)
        times.append(time.monotonic() - last)
        last = time.monotonic()
    all_of_them = dials(client, token)
    counted = admin.count(f"/terminators?limit=1&filter=service=\"{service}\"".replace('"', "%22").replace(" ", "%20"))
    if counted != TERMINATORS:
        raise SystemExit(f"hosting: the controller counts {counted} terminators, not {TERMINATORS}")
    for sdk in (host, client):
        sdk.close()
    return times, few, all_of_them
