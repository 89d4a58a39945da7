"""The command ``chimeramix serve``: what it refuses, and how it starts and ends as a process."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

import chimeramix_jax
from chimeramix_jax.command_line import exits, program, serve
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime.invocation import installing
from chimeramix_jax.serve import guard, listening
from chimeramix_jax.serve.examination import Examiner
from chimeramix_jax.use.prediction import Predictor
from tests.serve.conftest import Client, encoded, noise, photo

PROMPTLY = 20  # seconds, on a machine with other work; what it must not wait for would take longer


@contextlib.contextmanager
def started(*arguments):
    """Starts the command as a process, which is killed in the end if it still runs."""
    command = [sys.executable, str(ROOT / "main.py"), "serve", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def address_of(process):
    """Returns the address that the process prints as its last line before it waits."""
    line = ""
    while not line.startswith("http://"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
    return line.strip()


def wait_until_it_handles(process, number):
    """Waits until the process has a handler of its own for a signal."""
    status, deadline = Path(f"/proc/{process.pid}/status"), time.monotonic() + 60
    while not int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) >> (number - 1) & 1:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def ended_by(process, number):
    """Ends the process by a signal; returns its exit code, what it printed meanwhile, and the seconds until its end."""
    start = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output + errors, time.monotonic() - start


def test_a_run_is_served_until_ctrl_c(trained_run, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(noise()))
    with started(trained_run, "--port=0", "--reject_below=1") as process:
        address = address_of(process)
        client = Client(int(address.rsplit(":", 1)[1].strip("/")))
        status, answer = client.post(photo(path.read_bytes()))
        assert (status, answer["rejected"], answer["answer"]) == (200, True, None)
        code, printed, seconds = ended_by(process, signal.SIGINT)
    assert address.startswith("http://127.0.0.1:") and code == 0 and seconds < PROMPTLY
    assert printed.count("\n") == 1 and "--reject_below: the run has no temperature" in printed


def test_a_model_file_is_served_until_sigterm_and_says_that_it_has_no_training_images(trained_run, tmp_path):
    path = tmp_path / "model.zip"
    chimeramix_jax.export(trained_run, path, file_format="model")
    with started(path, "--port=0") as process:
        client = Client(int(address_of(process).rsplit(":", 1)[1].strip("/")))
        _, _, html = client.send("GET", "/")
        assert "A model file holds no training images" in html.decode() and "model.zip" in html.decode()
        assert str(tmp_path) not in html.decode()
        status, answer = client.post(photo(encoded(noise())))
        assert status == 200 and answer["class"] in chimeramix_jax.class_names(path)
        code, printed, seconds = ended_by(process, signal.SIGTERM)
    assert (code, printed) == (0, "") and seconds < PROMPTLY


def test_a_signal_ends_the_start_as_well(trained_run):
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    with started(trained_run, f"--port={port}") as process:
        for _ in range(600):  # until it listens, which is before it compiles
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        wait_until_it_handles(process, signal.SIGTERM)
        code, printed, seconds = ended_by(process, signal.SIGTERM)
    assert (code, printed) == (0, "") and seconds < PROMPTLY


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN: missing; name a run's folder, such as runs/photos, or a model file"),
        (["docs"], "RUN=docs: holds no run, and is not a model file"),
        (["nowhere"], "RUN=nowhere: holds no run"),
        (["main.py"], "main.py: not a file that --stage=export --format=model wrote"),
        (["gs://bucket/run"], "RUN=gs://bucket/run: is a URL"),
        (["run", "docs"], "'docs': not understood; serve takes a single run"),
        (["run", "--prot=1"], "--prot: unknown flag (did you mean --port?)"),
        (["run", "--port=70000"], "--port: '70000' is not allowed; it must be a whole number from 0 to 65535"),
        (["run", "--reject_below=60"], "--reject_below: '60' is not allowed"),
        (["run", "--max_megabytes=0"], "--max_megabytes: '0' is not allowed"),
        (["RUN", "--host=300.0.0.1", "--port=0"], "--host=300.0.0.1: "),
        (["RUN", "--host=192.0.2.1", "--port=0"], "--host=192.0.2.1: Cannot assign requested address; it must be"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_line(trained_run, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(exits, "quiet_libraries", lambda: None)
    code = program.main(["serve", *(str(trained_run) if word == "RUN" else word for word in arguments)])
    output, errors = capsys.readouterr()
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_jax_computes_as_in_the_other_commands_and_a_platform_that_it_lacks_is_refused(trained_run, monkeypatch):
    used = []

    def refused():
        raise InputError("JAX_PLATFORMS: cannot be used")

    monkeypatch.setattr(serve.jax_settings, "use_own", lambda: used.append("own settings"))
    monkeypatch.setattr(serve.backend, "check", refused)
    with pytest.raises(InputError, match="JAX_PLATFORMS"):
        serve._application(serve.parse_arguments([str(trained_run)]))
    assert used == ["own settings"]


def test_a_port_that_is_taken_is_said_before_anything_is_compiled(trained_run, monkeypatch, capsys):
    monkeypatch.setattr(exits, "quiet_libraries", lambda: None)
    monkeypatch.setattr(serve, "_application", lambda parsed: pytest.fail("compiled"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert program.main(["serve", str(trained_run), f"--port={port}"]) == 2
    message = f"--port={port}: another program uses it; choose another port, or --port=0 for a free one"
    assert capsys.readouterr() == ("", f"chimeramix: {message}\n")


@pytest.mark.parametrize("module", serve._PACKAGES)
def test_a_missing_package_is_named_with_the_command_that_installs_it(trained_run, module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert program.main(["serve", str(trained_run)]) == 2
    package = serve._PACKAGES[module]
    assert capsys.readouterr() == ("", f"chimeramix: serve: {package} not installed; run {installing(package)}\n")


def test_an_unfinished_run_is_refused(trained_run, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    shutil.copy(trained_run / "config.json", workdir)
    with pytest.raises(InputError, match="holds no finished classifier; finish it with the command that began it"):
        serve._application(serve.parse_arguments([str(workdir)]))


def test_a_run_whose_training_images_are_gone_is_served_without_them(trained_run, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained_run, workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["dataset"] |= {"name": "image_folder", "directory": str(tmp_path / "gone"), "image_side": 8}
    (workdir / "config.json").write_text(json.dumps(config))
    sentence = serve._load_training_images(Examiner(Predictor(workdir)), str(workdir))
    assert sentence is not None and sentence.startswith("The run's training images are not where they were")
    assert str(tmp_path) not in sentence
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "the nearest training images are not shown: " in errors and "gone" in errors


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0"])
def test_the_address_can_be_opened_and_says_who_reaches_it(host):
    with listening.listening_socket(host, 0) as opened:
        address, port = listening.addresses_of(opened)[0], opened.getsockname()[1]
        assert listening.is_only_local(opened) == (host != "0.0.0.0")
    shown = {"0.0.0.0": socket.gethostname(), "::1": "[::1]"}.get(host, address.split("//")[1].rsplit(":", 1)[0])
    assert address == f"http://{shown}:{port}/"


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "198.51.100.7"), ("::", "[2001:db8::7]")])
def test_all_addresses_are_shown_as_name_and_as_address_in_the_network_for_a_phone(host, shown, monkeypatch):
    with listening.listening_socket(host, 0) as opened:
        port, place = opened.getsockname()[1], shown.strip("[]")
        monkeypatch.setattr(socket.socket, "connect", lambda asking, address: None)
        monkeypatch.setattr(socket.socket, "getsockname", lambda asking: (host if asking is opened else place, port))
        named = f"http://{socket.gethostname()}:{port}/"
        assert listening.addresses_of(opened) == [named, f"http://{shown}:{port}/"]
        for useless in ("127.0.0.1", "::1", "0.0.0.0"):
            place = useless
            assert listening.addresses_of(opened) == [named]


def test_without_a_network_only_the_name_is_shown(monkeypatch):
    def fail(asking, address):
        raise OSError("Network is unreachable")

    with listening.listening_socket("0.0.0.0", 0) as opened:
        monkeypatch.setattr(socket.socket, "connect", fail)
        assert listening.addresses_of(opened) == [f"http://{socket.gethostname()}:{opened.getsockname()[1]}/"]


@pytest.mark.parametrize(
    ("host", "origin", "answered"),
    [
        ("photos.example", None, True),
        ("Photos.example:8443", "https://photos.example:8443", True),
        ("photos.example", "https://photos.example:8443", True),  # proxies may leave the port out
        ("photos.example", "https://evil.example", False),
        ("photos.example", "null", False),
        ("evil.example", "https://photos.example", False),
        ("photos.example.evil", None, False),
        ("127.0.0.1:8765", None, True),
        ("127.0.0.1:8765", "https://photos.example", False),  # the proxy must keep Host
        ("", None, False),
    ],
)
def test_a_proxy_is_answered_by_its_allowed_name(host, origin, answered):
    headers = {"host": host} | ({} if origin is None else {"origin": origin})
    assert (guard.refusal(headers, only_local=True, allowed_host="photos.EXAMPLE") is None) == answered


@pytest.mark.parametrize("name", ["https://photos.example", "photos.example:443", "photos.example/a", "a b", ".", "["])
def test_an_allowed_host_must_be_a_name_alone(trained_run, name):
    with pytest.raises(InputError, match=r"^--allowed_host=\S.*: must be a name alone"):
        serve.parse_arguments([str(trained_run), f"--allowed_host={name}"])
    assert serve.parse_arguments([str(trained_run), "--allowed_host=photos.example"]).allowed_host == "photos.example"


def test_at_an_address_that_others_reach_any_host_name_is_answered_but_no_other_site():
    assert guard.refusal({"host": "my-computer:8765"}, only_local=False) is None
    assert guard.refusal({"host": "my-computer:8765", "origin": "http://my-computer:8765"}, only_local=False) is None
    assert guard.refusal({"host": "my-computer:8765", "origin": "http://evil.example"}, only_local=False) is not None


@pytest.mark.parametrize("found", [True, False])
def test_the_browser_is_opened_if_there_is_one(found, monkeypatch, capsys):
    monkeypatch.setattr("webbrowser.open", lambda address: found)
    serve._open("http://localhost:1/")
    line = "chimeramix: --open: no browser was found; open http://localhost:1/ yourself\n"
    assert capsys.readouterr().err == ("" if found else line)
