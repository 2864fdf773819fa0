"""Secrets planted where they could leak from, each another one, so that a leak tells where it comes from."""

import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PLACES = ("key", "plain", "header", "query", "url", "settings", "bound", "environment", "error", "prompt", "answer")


def secret(place):
    """The secret of one place."""
    return f"sk-CANARY-{place}"


def leaks(shown):
    """The places whose secrets are in a text, or in whatever else can be shown."""
    text = shown.decode("latin-1") if isinstance(shown, bytes) else shown if isinstance(shown, str) else repr(shown)
    return set(re.findall(rf"sk-CANARY-({'|'.join(PLACES)})", text))


class Refusing(BaseHTTPRequestHandler):
    """Refuses every call as OpenAI does: with the key that it was given, in the text of the error."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Authorization"].removeprefix("Bearer ")
        data = json.dumps({"error": {"message": f"Incorrect API key provided: {key}.", "code": "invalid_api_key"}})
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data.encode())


@contextmanager
def refusing_server():
    """Its address, while it runs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
