"""A local web server that serves a single file."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def serve(content: Callable[[], bytes]) -> Iterator[str]:
    """Answers every GET with the result of ``content()``, and HEAD with an error; yields the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # the name is given by http.server
            body = content()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/archive"
    finally:
        server.shutdown()
        server.server_close()
