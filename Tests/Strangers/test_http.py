"""HTTP and datagrams through shares and accesses, with the clients and servers that people have: JDKs, browsers' libraries, nginx, Caddy, programs that wait for hours."""
import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import aiohttp
import aiohttp.web
import websockets.sync.client
import websockets.sync.server

import place
from network import free_port

DEBIAN = ["curl", "default-jdk-headless", "nginx", "caddy", "openssl"]
PYPI = ["aiohttp", "websockets"]


class Raw:
    """A server that hands each connection's first bytes to `answer(connection, head)`. - `ends`: how long after the first bytes the other side was gone, one for each connection."""

    def __init__(self, answer):
        self.answer, self.ends, self.heads = answer, [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            head = connection.recv(65536)
            if not head:
                return
            self.heads.append(head)
            begin = time.monotonic()
            self.answer(connection, head)
            while connection.recv(65536):
                pass
            self.ends.append(time.monotonic() - begin)


def visit(url, *options, seconds=place.PATIENCE):
    return place.run("curl", "--silent", "--max-time", seconds, *options, url, check=False, timeout=seconds + 30)


def ways(port, *options):
    """The same server as a public share and at a private access. - Returns: pairs of a name and a URL without a path."""
    service = place.service()
    public = service.public(port, *options)
    private = service.access(service.private(port, *options))
    return [("public", public.url.rstrip("/")), ("private", f"http://127.0.0.1:{private}")]


JDK = """
import java.net.*; import java.net.http.*; import java.time.*;
public class Visit {
  public static void main(String[] a) throws Exception {
    var client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    for (int i = 0; i < 3; i++) {
      var request = HttpRequest.newBuilder(URI.create(a[0] + "/jdk" + i)).timeout(Duration.ofSeconds(15));
      request = i == 2 ? request.POST(HttpRequest.BodyPublishers.ofString("body")) : request.GET();
      var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
      System.out.println(answer.statusCode() + " " + answer.body());
    }
  }
}
"""


def test_a_jdk_that_offers_h2c_is_answered_again_and_again():
    def answer(connection, head):
        body = head.split(b" ")[1]
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
    server = Raw(answer)
    source = os.path.join(place.directory(), "Visit.java")
    with open(source, "w") as file:
        file.write(JDK)
    for name, url in ways(server.port):
        # The resolver of a JDK knows no names below localhost.
        if name == "public":
            continue
        said = place.run("java", source, url, timeout=120).stdout.split("\n")
        assert [line for line in said if line] == ["200 /jdk0", "200 /jdk1", "200 /jdk2"], said
    said = place.run("java", source, place.service().endpoint, check=False, timeout=120).stdout
    assert len(said.split()) >= 3, said


def test_a_visitor_who_leaves_is_told_to_the_server_within_a_second():
    server = Raw(lambda connection, head: None)
    seen = []
    for name, url in ways(server.port):
        for options in ([], ["--data", "x=1"]):
            count = len(server.ends)
            assert visit(url + "/slow", *options, seconds=1).returncode == 28
            begin = time.monotonic()
            place.wait(f"the server is told ({name})", lambda: len(server.ends) > count, 5)
            seen.append(time.monotonic() - begin)
    assert max(seen) < 1.5, seen
    return f"at most {max(seen) * 1000:.0f} ms after curl had ended"


def test_a_visitor_who_leaves_a_silent_stream_is_told_to_the_server():
    server = Raw(lambda connection, head: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\n:hi\n\n\r\n"))
    for name, url in ways(server.port):
        count = len(server.ends)
        assert visit(url + "/events", "--no-buffer", seconds=1).returncode == 28
        place.wait(f"the server is told ({name})", lambda: len(server.ends) > count, 5)


def test_a_program_that_has_said_its_last_gets_its_answer():
    def answer(connection, head):
        time.sleep(2)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
    server = Raw(answer)
    for name, url in ways(server.port):
        host, port = url.split("//")[1].split(":")
        with socket.create_connection(("127.0.0.1", int(port))) as client:
            client.sendall(f"GET /late HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            client.settimeout(30)
            text = b""
            while more := client.recv(65536):
                text += more
        assert b"HTTP/1.1 200 OK" in text and text.endswith(b"done"), (name, text)


def test_answers_take_as_long_as_they_like_and_a_limit_is_told():
    silence = 130

    def answer(connection, head):
        if b"/late" in head:
            time.sleep(silence)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            time.sleep(silence)
            connection.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
    server = Raw(answer)
    seen, threads = {}, []
    for name, url in ways(server.port):
        for path in ("/late", "/events"):
            thread = threading.Thread(target=lambda key, address: seen.update({key: visit(address, seconds=300).stdout}), args=((name, path), url + path))
            thread.start()
            threads.append(thread)
    limited = place.service().public(server.port, "--response-timeout", "2s")
    page = visit(limited.url + "/late", "--include").stdout
    assert page.startswith("HTTP/1.1 504") and "said nothing for 2 s" in page, page
    limited.running.says(r"504\s+GET.*said nothing for 2 s")
    for thread in threads:
        thread.join()
    assert all(text == ("late" if path == "/late" else "firstsecond") for (_, path), text in seen.items()), seen
    return f"{silence} s of silence, four times"


def test_websockets_talk_and_are_silent():
    def echo(connection):
        for message in connection:
            connection.send(message)
    server = websockets.sync.server.serve(echo, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for _, url in ways(server.socket.getsockname()[1]):
            host, port = url.split("//")[1].split(":")
            with socket.create_connection(("127.0.0.1", int(port))) as way:
                with websockets.sync.client.connect(f"ws://{host}:{port}/", sock=way, open_timeout=20) as client:
                    for message in ["hello", "x" * 200_000, b"\x00\xff" * 10_000]:
                        client.send(message)
                        assert client.recv(timeout=20) == message
                    time.sleep(3)
                    client.send("after a while")
                    assert client.recv(timeout=20) == "after a while"
    finally:
        server.shutdown()


def test_aiohttp_streams_both_ways():
    async def mirror(request):
        answer = aiohttp.web.StreamResponse()
        await answer.prepare(request)
        async for piece in request.content.iter_any():
            await answer.write(piece)
        await answer.write_eof()
        return answer

    async def main():
        application = aiohttp.web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", mirror)
        runner = aiohttp.web.AppRunner(application)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        loop = asyncio.get_running_loop()
        try:
            for _, url in await loop.run_in_executor(None, ways, port):
                host, way = url.split("//")[1].split(":")

                async def pieces():
                    for index in range(200):
                        yield bytes([index]) * 10_000
                async with aiohttp.ClientSession() as session:
                    async with session.post(f"http://127.0.0.1:{way}/", data=pieces(), headers={"host": f"{host}:{way}"}) as answer:
                        assert answer.status == 200
                        assert await answer.read() == b"".join([bytes([index]) * 10_000 for index in range(200)])
        finally:
            await runner.cleanup()
    asyncio.run(main())


def nginx(listen, more=""):
    root = place.directory()
    os.makedirs(root + "/www/dir")
    for path, text in {"www/index.html": "root page", "www/dir/index.html": "page of dir"}.items():
        with open(os.path.join(root, path), "w") as file:
            file.write(text)
    os.chmod(root, 0o755)
    with open(root + "/nginx.conf", "w") as file:
        file.write(
            f"daemon off; master_process off; pid {root}/pid; error_log {root}/error.log; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n"
            f"server {{ listen {listen}; root {root}/www; {more} }} }}\n")
    return root, place.Running("nginx", "-c", root + "/nginx.conf", "-e", root + "/error.log")


def test_nginx_behind_its_own_address_redirects_visitors_to_theirs():
    port = free_port()
    nginx(f"127.0.0.1:{port}")
    place.wait("nginx listens", lambda: place.listens(port))
    for name, url in ways(f"http://127.0.0.1:{port}", "--host-header", "rewrite"):
        answer = visit(url + "/dir", "--include", "--location", "--write-out", "%{url_effective}").stdout
        assert "page of dir" in answer and answer.endswith(url + "/dir/"), (name, answer)
        assert f"127.0.0.1:{port}" not in answer, (name, answer)


def test_nginx_at_a_socket_and_below_a_path():
    path = os.path.join(place.directory(), "web.sock")
    nginx(f"unix:{path}")
    place.wait("nginx listens", lambda: os.path.exists(path))
    for _, url in ways("unix:" + path):
        assert visit(url + "/dir/").stdout == "page of dir"
    port = free_port()
    nginx(f"127.0.0.1:{port}")
    place.wait("nginx listens", lambda: place.listens(port))
    for _, url in ways(f"http://127.0.0.1:{port}/dir"):
        assert visit(url + "/").stdout == "page of dir" and visit(url).stdout == "page of dir"
        assert visit(url + "/../", "--path-as-is", "--write-out", "%{http_code}").stdout.endswith("400")


def test_caddy_on_ipv6_alone_is_found_by_its_port():
    if not socket.has_ipv6 or place.run("sh", "-c", "cat /proc/net/if_inet6", check=False).stdout.find("00000000000000000000000000000001") < 0:
        place.skip("this machine has no ::1")
    port = free_port()
    home = place.directory()
    place.Running("caddy", "respond", "--listen", f"[::1]:{port}", "caddy on six", environment={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})

    def answers():
        with contextlib.suppress(OSError), socket.create_connection(("::1", port), 1):
            return True
    place.wait("caddy listens", answers)
    for target in (port, f"http://localhost:{port}"):
        for _, url in ways(target):
            assert "caddy on six" in visit(url + "/").stdout


def test_a_certificate_that_nobody_believes_is_told_to_both():
    home = place.directory()
    place.run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", home + "/key.pem", "-out", home + "/cert.pem", "-days", "1", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home + "/cert.pem", home + "/key.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def serve():
        while True:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(65536)
                    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecret")
    threading.Thread(target=serve, daemon=True).start()
    share = place.service().public(f"https://127.0.0.1:{port}")
    page = visit(share.url, "--include").stdout
    assert page.startswith("HTTP/1.1 502") and "certificate" in page and "--insecure" in page, page
    share.running.says(r"502\s+GET.*certificate.*--insecure")
    assert visit(place.service().public(f"https://127.0.0.1:{port}", "--insecure").url).stdout == "secret"


def test_datagrams_of_all_sizes():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def mirror():
        while True:
            data, address = server.recvfrom(65536)
            server.sendto(data, address)
    threading.Thread(target=mirror, daemon=True).start()
    service = place.service()
    share = service.private(f"127.0.0.1:{server.getsockname()[1]}", "--backend-mode", "udpTunnel")
    port = free_port()
    access = place.Running(place.SWIFTLET, "access", "private", share.token, "--bind", f"127.0.0.1:{port}", "--headless", environment=service.environment)
    access.says("is here")
    sizes = [1, 1472, 16_384, 31_744, 31_745, 32_000, 48_000, 65_507]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        for size in sizes:
            data = os.urandom(size)
            for _ in range(10):
                client.sendto(data, ("127.0.0.1", port))
                with contextlib.suppress(TimeoutError):
                    if client.recv(65536) == data:
                        break
            else:
                raise AssertionError(f"{size} bytes never came back")
    return f"{len(sizes)} sizes up to {sizes[-1]}"


def test_a_share_that_is_told_to_end_lets_a_request_come_to_its_end():
    def answer(connection, head):
        time.sleep(3)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
    server = Raw(answer)
    share = place.service().public(server.port)
    process = subprocess.Popen(["curl", "--silent", "--max-time", "60", share.url], stdout=subprocess.PIPE, text=True)
    place.wait("the request is there", lambda: server.heads)
    share.running.process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "done"
    assert share.running.process.wait(30) == 0


def test_a_preflight_passes_the_password_and_nothing_else_does():
    server = Raw(lambda connection, head: connection.sendall(b"HTTP/1.1 204 No Content\r\naccess-control-allow-origin: *\r\nconnection: close\r\n\r\n"))
    share = place.service().public(server.port, "--basic-auth", "eve:sesame")
    asks = ["--header", "Origin: https://app.example", "--header", "Access-Control-Request-Method: PUT"]

    def status(*options):
        return visit(share.url + "/api", "--output", "/dev/null", "--write-out", "%{http_code}", *options).stdout
    assert status("--request", "OPTIONS", *asks) == "204"
    assert [status("--request", "OPTIONS"), status("--request", "OPTIONS", *asks[:2]), status(*asks)] == ["401", "401", "401"]
    assert status("--user", "eve:sesame") == "204"
    return json.dumps({"requests": len(server.heads)})
