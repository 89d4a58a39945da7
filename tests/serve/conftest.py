"""A server in this process, for the tests that send it photos."""

import contextlib
import http.client
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.serve import listening, page
from chimeramix_jax.serve.application import Application, Limits
from chimeramix_jax.serve.examination import Examiner
from chimeramix_jax.use.prediction import Predictor

BOUNDARY = "a-boundary"


class Client:
    """Sends requests to a server on this machine."""

    def __init__(self, port):
        self.port = port
        self.address = f"http://127.0.0.1:{port}/"

    def send(self, method, path, body=None, headers=()):
        """Returns status, headers and content of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def post(self, *parts, headers=()):
        """Sends a form of parts, as ``photo`` and ``field`` make them; returns status and content of the answer."""
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        status, _, content = self.send("POST", "/classify", form(*parts), kind | dict(headers))
        return status, json.loads(content)

    def post_photo(self, content):
        """Sends a photo alone; returns status and content of the answer."""
        return self.post(photo(content))


def form(*parts):
    return b"".join(f"--{BOUNDARY}\r\n".encode() + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def field(name, value):
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def photo(content, filename="cat.png", name="photo"):
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + content


def encoded(pixels, kind="png", **options):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind, **options)
    return content.getvalue()


def noise(seed=0, shape=(40, 60, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="package")
def examiner(trained_run):
    made = Examiner(Predictor(trained_run))
    made.load_training_images(Workdir(trained_run))
    made.warm_up()
    return made


@pytest.fixture(scope="package")
def serving(examiner):
    """Returns a context manager that serves the classifier and provides a client."""

    @contextlib.contextmanager
    def served(megabytes=20, reject_below=None, title="my run", without_nearest=None):
        names = examiner._predictor.class_names
        rendered = page.render(title, names, megabytes, reject_below, without_nearest, calibrated=False)
        application = Application(examiner, rendered, Limits(megabytes, reject_below))
        with listening.listening_socket("127.0.0.1", 0) as opened:
            server = listening.server_for(application.guarded(only_local=True))
            thread = threading.Thread(target=server.run, args=([opened],))
            thread.start()
            try:
                yield Client(opened.getsockname()[1])
            finally:
                server.should_exit = server.force_exit = True
                thread.join()
                application.close()

    return served


@pytest.fixture(scope="package")
def client(serving):
    with serving() as made:
        yield made
