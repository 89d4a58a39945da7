import json
import subprocess

import jax
import pytest
from conftest import ROOT

from chimeramix_jax.runs import provenance


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_commit_of_a_checkout_is_known():
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    commit = provenance.git_commit()
    assert commit is not None and commit.removesuffix("-dirty") == head.strip()


def test_a_record_names_versions_and_devices_in_what_json_can_hold():
    record = provenance.record()
    assert json.loads(json.dumps(record)) == record
    assert record["versions"]["jax"] == jax.__version__
    assert set(record["versions"]) == {*provenance.PACKAGES, "python"}
    assert record["device"]["count"] == len(jax.devices())
    assert record["device"]["kind"] == jax.devices()[0].device_kind


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert provenance.record()["versions"]["no-such-package"] is None


def test_the_commit_is_recorded_of_the_program_and_not_of_a_project_that_it_is_installed_in(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "runs").mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(package / "runs" / "provenance.py"))
    (package / "errors.py").write_text("one")

    def git(*arguments):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert provenance.git_commit() is None
    git("init")
    git("commit", "--allow-empty", "-m", "of another project")
    assert provenance.git_commit() is None
    git("add", ".")
    git("commit", "-m", "of this one")
    assert provenance.git_commit() == git("rev-parse", "HEAD")
    (package / "errors.py").write_text("two")
    assert provenance.git_commit() == git("rev-parse", "HEAD") + "-dirty"


def test_the_digest_of_a_split_tells_one_from_another():
    digests = {provenance.indices_digest(indices) for indices in ([1, 23], [12, 3], [3, 12], [1, 2, 3])}
    assert len(digests) == 4 and all(len(digest) == 64 for digest in digests)
