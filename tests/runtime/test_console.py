"""Standard output and error that are closed, lose their reader or lack Unicode, each in a process of its own."""

import os
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT

from chimeramix_jax.runtime import console


def command(body: str) -> list[str]:
    code = "import os, sys\nfrom chimeramix_jax.runtime import console\nwith console.prepared():\n"
    return [sys.executable, "-c", code + textwrap.indent(textwrap.dedent(body), "    ")]


def shell(line: str, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash in which ``"$@"`` is a Python program that has prepared its console."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        ["bash", "-c", line, "bash", *command(body)], capture_output=True, text=True, timeout=60, env=environment
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_losing_the_reader_changes_neither_the_work_nor_the_exit_code(tmp_path, stream):
    done = tmp_path / "done"
    body = f"""
        for _ in range(100_000):
            print("a line of words", file=sys.{stream})
        open({str(done)!r}, "w").close()
        sys.exit(7)
    """
    redirected = '"$@"' if stream == "stdout" else '"$@" 2>&1 >/dev/null'
    process = shell(f"{redirected} | head -1; exit ${{PIPESTATUS[0]}}", body)
    assert (process.returncode, process.stdout, process.stderr) == (7, "a line of words\n", "")
    assert done.exists()


def test_unread_output_is_no_error_at_exit():
    process = shell('"$@" | true; exit ${PIPESTATUS[0]}', "import time; time.sleep(0.3); print('little')")
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_output_that_cannot_be_stored_is_an_error():
    for ending in ("", "; sys.exit(0)"):
        process = shell('"$@" > /dev/full', f"print('text'){ending}")
        assert process.returncode == 1
        assert process.stderr == "chimeramix: standard output: cannot be written: No space left on device\n"


def test_without_unicode_letters_become_escapes_and_signs_similar_characters():
    process = shell('"$@"', "print('Bäume ±1', '猫')", PYTHONIOENCODING="ascii")
    assert (process.returncode, process.stdout, process.stderr) == (0, "B\\xe4ume +-1 \\u732b\n", "")


def test_file_names_that_are_not_valid_unicode_are_printed():
    process = shell('"$@"', "print(os.fsdecode(b'photo\\xff.png'))", PYTHONIOENCODING="utf-8")
    assert (process.returncode, process.stderr) == (0, "") and "photo" in process.stdout


@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-", "<&- >&- 2>&-"])
def test_a_new_file_does_not_get_the_descriptor_of_a_closed_stream(tmp_path, closed):
    file = tmp_path / "file"
    body = f"""
        with open({str(file)!r}, "w") as opened:
            print("an error", file=sys.stderr)
            os.write(2, b"an error of a library")
            print("text")
            opened.write("content")
    """
    process = shell(f'"$@" {closed}', body)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == ("" if ">&- 2" in closed else "text\n")
    assert file.read_text() == "content"


def test_ctrl_c_keeps_its_exit_code_if_it_also_ends_the_reader():
    body = """
        import signal, time
        signal.signal(signal.SIGINT, signal.default_int_handler)
        time.sleep(0.3)
        signal.raise_signal(signal.SIGINT)
    """
    process = shell('"$@" 2>&1 | true; exit ${PIPESTATUS[0]}', body)
    assert (process.returncode, process.stderr) == (130, "")


def test_the_original_streams_are_restored(monkeypatch, tmp_path):
    with open(tmp_path / "output", "w") as output, open(tmp_path / "errors", "w") as errors:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", errors)
        with console.prepared():
            print("text")
        assert (sys.stdout, sys.stderr) == (output, errors) and (tmp_path / "output").read_text() == "text\n"
