"""Fixtures of the tests of scripts/data.py."""

import data as data_script
import pytest


@pytest.fixture
def data(tmp_path, tmp_path_factory, capsys, monkeypatch):
    """Runs scripts/data.py on the root `tmp_path`, from another folder; returns (exit status, output)."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    def run(*args):
        status = data_script.main([*map(str, args), "--root", str(tmp_path)])
        output = capsys.readouterr()
        return status, output.out + output.err

    return run
