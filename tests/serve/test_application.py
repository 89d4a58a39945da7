"""Photos sent to the server, good ones and all kinds of bad ones."""

import contextlib
import io
import json
import re
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import chimeramix_jax
from chimeramix_jax.data import image_files
from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.serve import application, upload
from tests.serve.conftest import BOUNDARY, encoded, field, form, noise, photo


def head(*lines):
    """Returns the head of a request with a form."""
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
    return "\r\n".join(["POST /classify HTTP/1.1", "Host: localhost", kind, *lines, "", ""]).encode()


def turned():
    """Returns a photo that its EXIF data turn by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(noise(1), "jpeg", exif=exif)


def bomb():
    """Returns a PNG file of 10 KB with 400 million pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(2501))) + chunk(b"IEND", b"")
    )


def damaged_metadata():
    """Returns a photo whose metadata Pillow cannot read, but its pixels are intact."""
    content = encoded(noise(2))
    text = b"zTXtkey\x00\x00not compressed"
    return content[:33] + struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text)) + content[33:]


@pytest.mark.parametrize(
    "content",
    [encoded(noise()), encoded(noise()[:, :, 0]), encoded(noise(shape=(9, 9, 4))), turned(), damaged_metadata()],
    ids=["png", "grey", "transparent", "turned", "damaged metadata"],
)
def test_the_probabilities_are_those_of_predict(client, trained_run, tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    (expected,) = chimeramix_jax.predict(trained_run, path)
    status, answer = client.post(photo(content))
    assert status == 200
    assert [entry["class"] for entry in answer["classes"]] == list(expected.classes)
    assert [entry["probability"] for entry in answer["classes"]] == list(expected.probabilities)
    assert (answer["image"], answer["class"], answer["answer"]) == ("cat.png", expected.classes[0], expected.classes[0])
    assert answer["rejected"] is False and "heat_map" not in answer


def test_a_training_image_is_nearest_to_itself_and_is_explained(client, examiner):
    dataset = load_dataset(examiner._predictor.config)
    status, answer = client.post(photo(encoded(dataset.train.images[5])), field("explain", "yes"))
    assert status == 200
    first = answer["nearest"][0]
    assert (first["image"], first["similarity"]) == (dataset.train.names[5], pytest.approx(1.0, abs=1e-5))
    assert first["class"] == dataset.class_names[dataset.train.labels[5]]
    similarities = [near["similarity"] for near in answer["nearest"]]
    assert len(similarities) == 6 and similarities == sorted(similarities, reverse=True)
    pictures = [answer["picture"], answer["heat_map"], *(near["picture"] for near in answer["nearest"])]
    assert all(picture.startswith("data:image/") for picture in pictures) and answer["picture"] != answer["heat_map"]


def test_an_answer_says_whether_the_classifier_was_trained_on_the_photo_before_it_was_resized(
    client, examiner, monkeypatch
):
    predictor = examiner._predictor
    for known, expected in ((frozenset({image_digest(noise())}), [True, False]), (None, [None, None])):
        monkeypatch.setattr(predictor, "_training_images", known)
        answers = [client.post(photo(encoded(noise(seed))))[1] for seed in (0, 1)]
        assert [answer["trained_on"] for answer in answers] == expected


def test_a_photo_below_the_threshold_is_rejected(serving):
    with serving(reject_below=1.0) as client:
        _, answer = client.post(photo(encoded(noise())))
    assert answer["rejected"] is True and answer["answer"] is None and answer["class"]


@pytest.mark.parametrize(
    ("parts", "status", "sentence"),
    [
        ([], 400, "There is no photo: the form needs a file as its field 'photo'."),
        ([field("explain", "yes")], 400, "There is no photo"),
        ([field("photo", "text")], 400, "There is no photo"),
        ([field("photo", "x" * 20_000)], 400, "A field of the form is too long"),
        ([photo(b"", "")], 400, "No photo was chosen."),
        ([photo(b"")], 400, "cat.png is empty."),
        ([photo(b"abc"), photo(b"abc")], 400, "The form may only have the fields 'photo' and 'explain', each once."),
        ([field("explain", "no")] * 2, 400, "The form may only have"),
        ([photo(b"abc", name="picture")], 400, "The form has an unknown field"),
        ([photo(b"abc"), field("explain", "perhaps")], 400, "The field 'explain' must be 'yes' or 'no'."),
        ([b"no header at all"], 400, "The form is damaged or incomplete; send the photo again."),
        ([photo(b"#!/bin/sh", "run.png")], 422, "run.png is not an image as JPEG, PNG, WebP, GIF, BMP "),
        ([photo(encoded(noise())[:3000])], 422, "cat.png is damaged or of an unknown kind (image file is truncated"),
        ([photo(bomb())], 422, "pixels; reduce its size first."),
        ([photo(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")], 422, "is not an image as JPEG"),
        ([photo(encoded(noise(), "ppm"), "cat.jpg")], 422, "cat.jpg is not an image as JPEG"),
        ([photo(b"abc", "/etc/<b>pass\x07wd</b>")], 422, "b> is not an image"),
        ([photo(b"abc", "C:\\\\secret\\\\me.png")], 422, "me.png is not an image"),
    ],
)
def test_what_is_no_photo_is_refused_in_a_sentence(client, parts, status, sentence, tmp_path, capfd):
    answered, answer = client.post(*parts)
    assert answered == status
    assert list(answer) == ["error"] and sentence in answer["error"]
    assert answer["error"].endswith(".") and "\n" not in answer["error"]
    assert "/" not in answer["error"].replace("</", "")  # no path
    assert client.post(photo(encoded(noise())))[0] == 200
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["image/png", "application/json", "multipart/form-data", None])
def test_a_request_that_is_no_form_is_refused(client, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    status, _, content = client.send("POST", "/classify", encoded(noise()), headers)
    assert status in (400, 415) and json.loads(content)["error"].endswith(".")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/classify", 405),
        ("POST", "/", 405),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/classify/", 404),  # not redirected, since curl alone would show nothing
    ],
)
def test_other_addresses_are_refused_in_a_sentence(client, method, path, status):
    answered, _, content = client.send(method, path)
    sentence = json.loads(content)["error"]
    assert answered == status and "/classify" in sentence and sentence.endswith(".")


def test_a_heic_photo_is_refused_without_what_only_concerns_the_server(client, monkeypatch):
    monkeypatch.setattr(image_files, "_enable_heic_if_installed", lambda: False)
    status, answer = client.post(photo(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "IMG_1.HEIC"))
    sentence = "IMG_1.HEIC is a HEIC photo, which needs the package pillow-heif on the server; send a JPEG instead."
    assert (status, answer) == (422, {"error": sentence})


def raw(client):
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    return contextlib.closing(connection)


def received(connection):
    """Returns an answer, whose content is a JSON object."""
    answer = b""
    while not answer.endswith(b"}"):
        part = connection.recv(10_000)
        assert part, answer
        answer += part
    return answer


@pytest.mark.parametrize(
    "kept", [-10, -20, -200, 60], ids=["no last boundary", "half a boundary", "half a photo", "half a head"]
)
def test_a_form_that_was_cut_off_is_said_to_be_incomplete(client, kept):
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    for parts in ([photo(encoded(noise()))], [photo(encoded(noise())), field("explain", "no")]):
        status, _, content = client.send("POST", "/classify", form(*parts)[:kept], kind)
        assert status == 400
        assert json.loads(content) == {"error": "The form is damaged or incomplete; send the photo again."}


def test_a_photo_that_says_it_is_too_large_is_refused_before_it_is_sent(client):
    with raw(client) as connection:
        connection.sendall(head("Content-Length: 900000000000"))
        answer = received(connection)
    assert b" 413 " in answer and b"The photo is larger than 20 MB; reduce its size first." in answer


def test_a_photo_without_a_length_is_refused_while_it_arrives(serving):
    piece = b"f4240\r\n" + bytes(1_000_000) + b"\r\n"
    with serving(megabytes=3) as client, raw(client) as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        start = form(photo(b"")).partition(b"\r\n--a-boundary--")[0]
        connection.sendall(f"{len(start):x}\r\n".encode() + start + b"\r\n")
        for _ in range(4):  # and never an end
            connection.sendall(piece)
        answer = received(connection)
    assert b" 413 " in answer and b"larger than 3 MB" in answer


def test_the_limit_is_that_of_the_file(serving):
    small = encoded(noise())
    with serving(megabytes=1) as client:
        assert client.post(photo(small + bytes(1_000_000 - len(small))))[0] == 200
        assert client.post(photo(small + bytes(1_000_001 - len(small))))[0] == 413


def test_a_photo_that_does_not_arrive_is_given_up(client, monkeypatch):
    monkeypatch.setattr(upload, "SECONDS_TO_SEND", 0.2)
    with raw(client) as connection:
        connection.sendall(head("Content-Length: 900"))
        assert b" 408 " in received(connection)


def status_within(client, wanted):
    """Whether the server answers a photo with this status soon; it may not have seen another client's acts yet."""
    return any(client.post(photo(encoded(noise())))[0] == wanted for _ in range(50))


def test_a_client_that_goes_away_leaves_its_place_to_others(client, monkeypatch):
    monkeypatch.setattr(application, "MOST_REQUESTS", 1)
    with raw(client) as connection:
        connection.sendall(head("Content-Length: 900") + b"--a-boundary")
        assert status_within(client, 503)
    assert status_within(client, 200)


def test_of_40_photos_at_once_some_wait_and_the_others_are_asked_to_come_again(client, examiner, monkeypatch):
    go, examine = threading.Event(), examiner.examine

    def slow(*arguments, **options):
        assert go.wait(60)
        return examine(*arguments, **options)

    monkeypatch.setattr(examiner, "examine", slow)
    answers = []
    with ThreadPoolExecutor(40) as threads:
        sent = [threads.submit(lambda: answers.append(client.post(photo(encoded(noise()))))) for _ in range(40)]
        while len(answers) < 40 - application.MOST_REQUESTS:
            assert client.send("GET", "/")[0] == 200  # although the classifier is busy
        assert {status for status, _ in answers} == {503}
        assert answers[0][1] == {"error": "Too many photos are waiting; try again in a moment."}
        go.set()
    assert all(future.exception() is None for future in sent)
    assert sorted(status for status, _ in answers) == [200] * application.MOST_REQUESTS + [503] * 24
    assert len({json.dumps(answer) for status, answer in answers if status == 200}) == 1


def test_an_error_of_the_program_is_one_sentence_for_the_client_and_its_details_are_in_the_terminal(
    client, examiner, monkeypatch, capfd
):
    def broken(*arguments, **options):
        raise ZeroDivisionError("secret")

    with monkeypatch.context() as patched:
        patched.setattr(examiner, "examine", broken)
        status, answer = client.post(photo(encoded(noise())))
    assert (status, answer) == (500, {"error": "The server failed at this; its terminal says why."})
    assert "ZeroDivisionError: secret" in capfd.readouterr().err
    assert client.post(photo(encoded(noise())))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:9000"}, 200),  # a tunnel
        ({"Host": "[::1]:8765"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8765"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://[::1"}, 403),
    ],
)
def test_only_the_page_itself_is_answered(client, headers, status):
    answered, shown, content = client.send("GET", "/", headers=headers)
    assert answered == status
    if status == 403:
        assert json.loads(content)["error"].startswith("This server only answers requests")
    assert shown["Cache-Control"] == "no-store" and shown["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in shown["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in shown["Content-Security-Policy"]


def test_the_page_loads_nothing_from_elsewhere_and_escapes_names(serving):
    with serving(title="<script>alert(1)</script>") as client:
        _, _, content = client.send("GET", "/")
    html = content.decode()
    assert "&lt;script&gt;alert(1)" in html and "<script>alert" not in html
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", html) and "url(" not in html and "@import" not in html
    assert html.count("<script>") == 1


def test_large_photos_are_read_whole(client):
    content = io.BytesIO()
    Image.effect_noise((1500, 1200), 90).convert("RGB").save(content, "png")
    assert len(content.getvalue()) > 2_000_000
    status, answer = client.post(photo(content.getvalue()), field("explain", "yes"))
    assert status == 200
    assert np.isclose(sum(entry["probability"] for entry in answer["classes"]), 1, atol=1e-5)
