#!/usr/bin/env python3
"""zrok_walk.py GENERATION ENDPOINT TOKEN: the published zrok SDK (`zrok` 1.1.11 or `zrok2` 2.0.8), as its users run it, with HOME as a fresh directory.

Generation 1 has no `enable`: the files that the command line would have made are written here from the answer of the REST call.
Each step is a JSON line on standard output. After `serving` it waits for a line on standard input, then cleans up."""
import http.server
import json
import os
import sys
import threading
import traceback
import urllib.request

PAGE = b"hello from a zrok share\n"


def report(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-seen-host", self.headers.get("host", ""))
        self.send_header("x-seen-proxy", self.headers.get("x-proxy", ""))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(PAGE)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("content-length", "0"))))

    def log_message(self, text, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    """An HTTPServer whose listening socket is the overlay's."""

    daemon_threads = True

    def __init__(self, listener):
        super().__init__(("overlay", 80), Page, bind_and_activate=False)
        self.socket.close()
        self.socket = listener

    def shutdown_request(self, request):
        request.close()


def enable_first_generation(endpoint, token):
    """What `zrok enable` does, for the generation whose Python SDK lacks it."""
    request = urllib.request.Request(
        endpoint + "/api/v1/enable", method="POST", data=json.dumps({"description": "walk", "host": "test"}).encode(),
        headers={"content-type": "application/zrok.v1+json", "x-token": token})
    with urllib.request.urlopen(request, timeout=20) as response:
        made = json.load(response)
    root = os.path.join(os.environ["HOME"], ".zrok")
    os.makedirs(os.path.join(root, "identities"), mode=0o700)
    for name, content in (
            ("metadata.json", json.dumps({"v": "v0.4"})),
            ("environment.json", json.dumps({"zrok_token": token, "ziti_identity": made["identity"], "api_endpoint": endpoint})),
            ("identities/environment.json", made["cfg"])):
        with open(os.path.join(root, name), "w") as file:
            file.write(content)


def serve(listener_class, token, root):
    listener = listener_class(token, root)
    listener.listen()
    server = Server(listener._Listener__server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return listener


def first(endpoint, token):
    enable_first_generation(endpoint, token)
    import zrok
    from zrok import share, access, listener, overview
    from zrok.model import ShareRequest, AccessRequest
    root = zrok.environment.root.Load()
    report("enabled", ok=root.IsEnabled())
    public = share.CreateShare(root, ShareRequest(BackendMode="proxy", ShareMode="public", Target="walk", Frontends=["public"]))
    report("public", token=public.Token, endpoints=public.FrontendEndpoints)
    reserved = share.CreateShare(
        root, ShareRequest(BackendMode="proxy", ShareMode="public", Target="walk", Frontends=["public"], Reserved=True, UniqueName="walkname"))
    report("reserved", token=reserved.Token, endpoints=reserved.FrontendEndpoints)
    private = share.CreateShare(root, ShareRequest(BackendMode="tcpTunnel", ShareMode="private", Target="walk"))
    gained = access.CreateAccess(root, AccessRequest(ShareToken=private.Token))
    report("access", token=gained.Token, mode=gained.BackendMode, share=private.Token)
    seen = overview.Overview.create(root)
    report("overview", shares=sorted(s.share_token for e in seen.environments for s in e.shares))
    bound = serve(listener.Listener, public.Token, root)
    report("serving", token=public.Token)
    sys.stdin.readline()
    bound.close()
    access.DeleteAccess(root, gained)
    share.DeleteShare(root, public)
    # The SDK says nothing of `reserved` here: the share stays.
    share.DeleteShare(root, reserved)
    report("kept", shares=sorted(s.share_token for e in overview.Overview.create(root).environments for s in e.shares))
    share.ReleaseReservedShare(root, reserved)
    share.DeleteShare(root, private)
    report("released", shares=sorted(s.share_token for e in overview.Overview.create(root).environments for s in e.shares))


def second(endpoint, token):
    os.environ["ZROK2_API_ENDPOINT"] = endpoint
    import zrok2
    from zrok2 import share, access, listener, overview, name, listing
    from zrok2.environment import enable
    from zrok2.model import ShareRequest, AccessRequest, NameSelection
    root = zrok2.environment.root.Load()
    enable.enable(root, token, description="walk", host="test")
    # The SDK forgets this file, without which it does not find the environment again.
    with open(os.path.join(os.environ["HOME"], ".zrok2", "metadata.json"), "w") as file:
        json.dump({"v": "v0.4"}, file)
    root = zrok2.environment.root.Load()
    report("enabled", ok=root.IsEnabled())
    name.create_name(root, "walk-docs")
    report("names", names=[n.Name for n in name.list_names(root)], namespaces=[n.NamespaceToken for n in name.list_namespaces(root)])
    named = share.CreateShare(root, ShareRequest(
        BackendMode="proxy", ShareMode="public", Target="walk", NameSelections=[NameSelection(NamespaceToken="public", Name="walk-docs")]))
    report("named", token=named.Token, endpoints=named.FrontendEndpoints)
    public = share.CreateShare(root, ShareRequest(BackendMode="proxy", ShareMode="public", Target="walk"))
    report("public", token=public.Token, endpoints=public.FrontendEndpoints)
    private = share.CreateShare(root, ShareRequest(BackendMode="tcpTunnel", ShareMode="private", Target="walk"))
    gained = access.CreateAccess(root, AccessRequest(ShareToken=private.Token))
    report("access", token=gained.Token, mode=gained.BackendMode, share=private.Token)
    detail = share.GetShareDetail(root, named.Token)
    report("detail", token=detail.Token, endpoints=detail.FrontendEndpoints)
    report("listed", shares=sorted(s.Token for s in listing.list_shares(root)), accesses=[a.FrontendToken for a in listing.list_accesses(root)])
    report("overview", shares=sorted(s.share_token for e in overview.Overview.create(root).environments for s in e.shares))
    bound = serve(listener.Listener, named.Token, root)
    report("serving", token=named.Token)
    sys.stdin.readline()
    bound.close()
    access.DeleteAccess(root, gained)
    for made in (named, public, private):
        share.DeleteShare(root, made)
    report("kept", names=[n.Name for n in name.list_names(root)], shares=[s.Token for s in listing.list_shares(root)])
    name.delete_name(root, "walk-docs")
    report("released", names=[n.Name for n in name.list_names(root)])
    # In a fresh process: libziti 0.29 crashes when its channel ends after the share of one of its listeners was deleted.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, __file__, "disable", endpoint, token])


def leave(endpoint, token):
    import zrok2
    from zrok2.environment import enable
    root = zrok2.environment.root.Load()
    enable.disable(root)
    report("disabled", ok=not root.IsEnabled())


def main():
    try:
        {"1": first, "2": second, "disable": leave}[sys.argv[1]](sys.argv[2], sys.argv[3])
        report("done", ok=True)
    except BaseException as error:
        traceback.print_exc()
        report("failed", error=repr(error))
    # libziti's own thread does not end by itself.
    sys.stdout.flush()
    os._exit(0)


main()
