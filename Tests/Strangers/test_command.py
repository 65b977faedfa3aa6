"""The command line as people and scripts use it: signing in, deleting by filter, IPv6, signals, plain HTTP at a TLS port, the first URL of a share in programs that do not find it."""
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import threading
import time
import urllib.request

import place
from network import free_port

_networks = {}


class Quickstart:
    """A network of one process, with an administrator who is signed in, and the identities of its demo service."""

    def __init__(self, host="127.0.0.1"):
        self.directory = place.directory()
        self.port = free_port()
        self.environment = {"SWIFTLET_CONFIG_DIR": self.directory + "/config", "NO_COLOR": "1"}
        self.running = place.Running(
            place.SWIFTLET, "quickstart", "--directory", self.directory + "/data", "--host", host, "--port", self.port, "--router-port", free_port(),
            environment=self.environment)
        self.password = self.running.says(r"password\s+(\S+)")[1]
        self.running.says("Ctrl-C stops it")
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def swiftlet(self, *words, check=True):
        return place.run(place.SWIFTLET, *words, environment=self.environment, check=check)

    def login(self, address=None):
        return self.swiftlet("login", address or self.address, "-u", "admin", "-p", self.password, "-y")

    def names(self, text):
        answer = json.loads(self.swiftlet("list", "identities", f'name contains "{text}" sort by name limit none', "-j").stdout)
        return [entity["name"] for entity in answer["data"]]


def network(host="127.0.0.1"):
    if host not in _networks:
        made = Quickstart(host)
        made.login()
        _networks[host] = made
    return _networks[host]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_login_takes_the_scheme_in_any_case():
    made = network()
    assert "Signed in to https://127.0.0.1:" in made.login(f"HTTPS://127.0.0.1:{made.port}/").stdout
    refused = made.swiftlet("login", f"http://127.0.0.1:{made.port}", check=False)
    assert refused.returncode == 1 and "not encrypted" in refused.stderr, refused.stderr


def test_delete_does_what_the_filter_lists_and_no_more():
    made = network()
    for number in range(20):
        made.swiftlet("create", "identity", f"zz{number:02}")
    said = made.swiftlet("delete", "identities", "where", 'name contains "zz" sort by name limit 3').stdout
    assert "results: 1-3 of 20" in said, said
    assert made.names("zz") == [f"zz{number:02}" for number in range(3, 20)]
    answer = json.loads(made.swiftlet("delete", "identities", "where", 'name contains "zz" sort by name skip 15', "-j").stdout)
    assert [entry["state"] for entry in answer["data"]] == ["deleted", "deleted"], answer
    assert made.names("zz") == [f"zz{number:02}" for number in range(3, 18)]
    empty = made.swiftlet("delete", "identities", "where", " ", check=False)
    assert empty.returncode == 1 and "filter is empty" in empty.stderr
    one = json.loads(made.swiftlet("delete", "identity", "zz03", "-j").stdout)
    assert len(one["data"]) == 1 and one["data"][0]["state"] == "deleted"
    missing = made.swiftlet("delete", "identity", "zz03", "--ignore-missing", "-j")
    assert json.loads(missing.stdout) == {"data": [{"id": "zz03", "state": "missing"}]}


def test_delete_asks_on_a_terminal():
    made = network()
    for number in range(3):
        made.swiftlet("create", "identity", f"yy{number}")

    def on_terminal(answer, *flags):
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(made.environment)
            os.execv(place.SWIFTLET, [place.SWIFTLET, "delete", "identities", "where", 'name contains "yy"', *flags])
        text, asked = b"", False
        deadline = time.monotonic() + place.PATIENCE
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    part = os.read(terminal, 4096)
                except OSError:
                    break
                if not part:
                    break
                text += part
            if not asked and b"[y/N]" in text:
                asked = True
                os.write(terminal, answer)
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text.decode(errors="replace")

    status, text = on_terminal(b"n\n")
    assert status == 1 and "Delete 3 identities: yy" in text and "nothing was deleted" in text, text
    assert len(made.names("yy")) == 3
    status, text = on_terminal(b"", "--yes")
    assert status == 0 and "[y/N]" not in text, text
    assert made.names("yy") == []


def test_curl_and_wget_are_led_from_http_to_https():
    made = network()
    url = f"http://{made.address}/edge/client/v1/version"
    assert '"data"' in place.run("curl", "-skL", url).stdout
    assert '"data"' in place.run("wget", "-qO-", "--no-check-certificate", url).stdout
    refused = place.run("curl", "-sk", "-d", "{}", url).stdout
    assert refused == "This port speaks TLS: write https:// in place of http://\n", refused


def test_a_network_on_ipv6():
    if not has_ipv6():
        place.skip("this machine has no ::1")
    made = network("::1")
    data, web, local = made.directory + "/data", place.serve(Page6), free_port()
    made.swiftlet("create", "service", "page", "-a", "demo")
    host = place.Running(place.SWIFTLET, "tunnel", "host", "-i", data + "/demo-host.json", f"page:127.0.0.1:{web}", environment=made.environment)
    host.says("service hosted")
    proxy = place.Running(place.SWIFTLET, "tunnel", "proxy", "-i", data + "/demo-client.json", f"page:{local}", "--bind", "::1", environment=made.environment)
    proxy.says("proxy listens")
    assert place.run("curl", "-sg", f"http://[::1]:{local}/").stdout == "six"
    routers = made.swiftlet("list", "edge-routers", "-j").stdout
    assert re.search(r'"tls://\[::1\]:\d+"', routers), routers
    token = made.directory + "/guest.jwt"
    made.swiftlet("create", "identity", "guest", "-o", token)
    with open(token, encoding="utf-8") as file:
        text = file.read()
    with open(token, "w", encoding="utf-8-sig", newline="") as file:
        file.write(text + "\r\n")
    made.swiftlet("enroll", token)
    identity = made.directory + "/guest.json"
    with open(identity, encoding="utf-8") as file:
        text = file.read()
    with open(identity, "w", encoding="utf-8-sig") as file:
        file.write(text)
    guest = place.Running(place.SWIFTLET, "tunnel", "proxy", "-i", identity, f"page:{free_port()}", environment=made.environment)
    guest.says("proxy listens")


class Page6(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"six")

    def log_message(self, text, *arguments):
        pass


def slow_server(total, go_on):
    """Sends half of what it promised, waits, sends the rest, and ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"x" * (total // 2))
            go_on.wait(place.PATIENCE)
            connection.sendall(b"x" * (total - total // 2))

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def tunnels(made, service, port, *flags):
    data, local = made.directory + "/data", free_port()
    made.swiftlet("create", "service", service, "-a", "demo")
    host = place.Running(
        place.SWIFTLET, "tunnel", "host", "-i", data + "/demo-host.json", f"{service}:127.0.0.1:{port}", *flags, environment=made.environment)
    host.says("service hosted")
    proxy = place.Running(
        place.SWIFTLET, "tunnel", "proxy", "-i", data + "/demo-client.json", f"{service}:{local}", *flags, environment=made.environment)
    proxy.says("proxy listens")
    client = socket.create_connection(("127.0.0.1", local))
    client.sendall(b"go\n")
    return host, proxy, client


def read_all(client, total):
    client.settimeout(place.PATIENCE)
    count = 0
    while part := client.recv(65536):
        count += len(part)
        if count >= total:
            break
    return count


def test_sigterm_lets_open_connections_end():
    made, total = network(), 400_000
    for number, which in enumerate(("host", "proxy")):
        go_on = threading.Event()
        host, proxy, client = tunnels(made, f"slow{number}", slow_server(total, go_on), "--grace", "50s")
        assert len(client.recv(1)) == 1
        subject = (host if which == "host" else proxy).process
        subject.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert subject.poll() is None, f"{which} ended at once"
        go_on.set()
        assert read_all(client, total - 1) == total - 1
        client.close()
        assert subject.wait(place.PATIENCE) == 0
        host.stop(), proxy.stop()


def test_a_limit_and_a_second_signal_end_them():
    made = network()
    host, proxy, client = tunnels(made, "held", slow_server(400_000, threading.Event()), "--grace", "1s")
    assert len(client.recv(1)) == 1
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(place.PATIENCE) == 0
    proxy.stop(), client.close()
    host, proxy, client = tunnels(made, "held2", slow_server(400_000, threading.Event()), "--grace", "1h")
    assert len(client.recv(1)) == 1
    proxy.process.send_signal(signal.SIGTERM)
    proxy.says("waits for connections")
    proxy.process.send_signal(signal.SIGTERM)
    assert proxy.process.wait(place.PATIENCE) == 0
    host.stop(), client.close()


def test_the_first_url_is_found_by_the_line_that_the_screen_shows():
    service = place.service()
    share = service.public(str(place.serve(Page6)))
    line = share.running.says(r"other programs may not, then: (curl .*)")[1]
    assert place.run("sh", "-c", line.replace("curl ", "curl -s ")).stdout == "six", line
    host = re.search(r"Host: (\S+)'", line)[1]
    address = re.search(r"'(http://\S+)'$", line)[1]
    assert urllib.request.urlopen(urllib.request.Request(address, headers={"Host": host})).read() == b"six"
    assert place.run("wget", "-qO-", "--header", f"Host: {host}", address).stdout == "six"


def test_enable_without_a_scheme():
    service = place.service()
    home = {"SWIFTLET_SHARE_HOME": place.directory() + "/home"}
    place.run(place.SWIFTLET, "share", "enable", service.account, "--endpoint", f"127.0.0.1:{service.ports['api']}", environment=home)
    assert f"http://127.0.0.1:{service.ports['api']}" in place.run(place.SWIFTLET, "share", "status", environment=home).stdout
    place.run(place.SWIFTLET, "share", "disable", environment=home)


def test_a_key_twice_and_a_mark_in_a_configuration():
    directory = place.directory()
    twice = directory + "/twice.yml"
    with open(twice, "w", encoding="utf-8-sig") as file:
        file.write("v: 3\ndb: secret.db\nedge: {}\ndb: other.db\n")
    failed = place.run(place.SWIFTLET, "controller", "run", twice, check=False)
    assert failed.returncode == 1 and "twice.yml:4: the key 'db' is written twice, in line 2 and in line 4" in failed.stderr, failed.stderr
    assert "secret" not in failed.stderr
