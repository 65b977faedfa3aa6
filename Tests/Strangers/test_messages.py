"""HTTP/1.1 as other people's clients and servers speak it: a JDK that offers HTTP/2 on its first request, curl that asks as it asks a proxy, servers that answer as the specification no longer wants it."""
DEBIAN = ["default-jdk-headless"]

import http.client
import http.server
import os
import urllib.parse

import place

JAVA = """
import java.net.URI;
import java.net.http.*;
import java.time.Duration;

public class Ask {
  public static void main(String[] urls) throws Exception {
    for (int at = 0; at < urls.length; at += 2) {
      // HTTP/2 is what it speaks unless told otherwise; without TLS it offers that beside the first request of a connection.
      HttpClient client = HttpClient.newHttpClient();
      for (int number = 0; number < 3; number++) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(urls[at])).timeout(Duration.ofSeconds(15));
        if (!urls[at + 1].isEmpty()) request.header("Host", urls[at + 1]);
        HttpResponse<String> answer = client.send(request.build(), HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body().length());
      }
    }
  }
}
"""


class Plain(http.server.BaseHTTPRequestHandler):
    """Answers with its path, and the fields that it was sent."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.path} {self.headers['Host']} {self.headers.get('X-Name', '')} {self.headers.get('Upgrade', 'none')}".encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Name", "caf\xe9")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, text, *arguments):
        pass


class Canned(http.server.BaseHTTPRequestHandler):
    """Says what the path asks for, octet by octet."""
    answers = {
        "/space": b"HTTP/1.1 200 OK\r\nX-Odd : v\r\nContent-Length: 2\r\n\r\nok",
        "/lines": b"HTTP/1.1 200 OK\nX-Odd: v\nContent-Length: 2\n\nok",
        "/lengths": b"HTTP/1.1 200 OK\r\nX-Odd: v\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "/many": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(990)) + b"X-Odd: v\r\nContent-Length: 2\r\n\r\nok",
        "/large": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (number, b"y" * 7900) for number in range(32)) + b"X-Odd: v\r\nContent-Length: 2\r\n\r\nok",
        "/differ": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "/none": b"SSH-2.0-OpenSSH_9.9\r\n",
    }

    def do_GET(self):
        self.wfile.write(self.answers[self.path])

    def log_message(self, text, *arguments):
        pass


def test_a_jdk_asks_three_times_on_one_connection_at_each_door():
    service = place.service()
    port = place.serve(Plain)
    public = service.public(f"127.0.0.1:{port}")
    access = service.access(service.private(f"127.0.0.1:{port}"))
    host = urllib.parse.urlsplit(public.url).netloc
    source = os.path.join(place.directory(), "Ask.java")
    with open(source, "w", encoding="utf-8") as file:
        file.write(JAVA)
    doors = [f"http://127.0.0.1:{service.ports['frontend']}/a", host, f"http://127.0.0.1:{access}/b", "", service.endpoint + "/api/v2/versions", ""]
    said = place.run("java", "-Djdk.httpclient.allowRestrictedHeaders=host", source, *doors, timeout=120).stdout.split("\n")[:-1]
    assert len(said) == 9 and all(line.startswith("200 HTTP_1_1 ") for line in said), said
    return place.run("java", "-version").stderr.split("\n")[0]


def test_curl_asks_as_it_asks_a_proxy():
    service = place.service()
    public = service.public(f"127.0.0.1:{place.serve(Plain)}")
    host = urllib.parse.urlsplit(public.url).netloc
    frontend = f"http://127.0.0.1:{service.ports['frontend']}"
    said = place.run("curl", "--silent", "--max-time", 20, "--proxy", frontend, "--header", "Host: elsewhere.example", f"http://{host}/a?b").stdout
    assert said.startswith(f"/a?b {host} "), said
    # It waits for the word to send its body, which nobody wants where there is no share.
    said = place.run(
        "curl", "--silent", "--include", "--max-time", 20, "--header", "Expect: 100-continue", "--expect100-timeout", 15, "--data", "x=y",
        "--header", f"Host: nobody.{host.split('.', 1)[1]}", frontend).stdout
    assert said.startswith("HTTP/1.1 404"), said


def test_octets_that_are_not_utf8_pass_both_ways():
    service = place.service()
    public = service.public(f"127.0.0.1:{place.serve(Plain)}")
    client = http.client.HTTPConnection("127.0.0.1", service.ports["frontend"], timeout=20)
    # http.client and http.server read and write fields as ISO 8859-1: a character, an octet.
    client.request("GET", "/", headers={"Host": urllib.parse.urlsplit(public.url).netloc, "X-Name": "caf\xe9 \xff"})
    answer = client.getresponse()
    assert answer.headers["X-Name"] == "caf\xe9", answer.headers
    assert b" caf\xe9 \xff " in answer.read()


def test_servers_that_answer_oddly_are_understood_and_others_are_named():
    service = place.service()
    public = service.public(f"127.0.0.1:{place.serve(Canned)}")
    host = urllib.parse.urlsplit(public.url).netloc
    for path in Canned.answers:
        said = place.run(
            "curl", "--silent", "--include", "--max-time", 20, "--header", f"Host: {host}", f"http://127.0.0.1:{service.ports['frontend']}{path}").stdout
        if path in ("/differ", "/none"):
            assert said.startswith("HTTP/1.1 502") and "cannot be passed on" in said, said
            public.running.says(f"502.*{path}.*not HTTP/1.1")
        else:
            assert said.startswith("HTTP/1.1 200") and "X-Odd: v\n" in said.replace("\r\n", "\n") and said.endswith("ok"), (path, said[:300])
