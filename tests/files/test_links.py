"""Symbolic links in a folder that may come from others: nothing is written through them."""

import logging

import pytest
from dassl.utils import setup_logger

from softcpt.evaluation.records import write_record
from softcpt.files import CHECKPOINT, PROMPTS, remove_run, write_atomically
from trainers.engine.earlier import remove_earlier


@pytest.fixture
def foreign(tmp_path):
    """A file and a folder of the user's."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/own.txt").write_text("mine")
    (tmp_path / "run").mkdir()
    return tmp_path / "home"


def test_link_in_the_place_of_a_run_file_is_replaced(foreign, tmp_path):
    path = tmp_path / "run/results.json"
    path.symlink_to(foreign / "own.txt")
    write_record(path, {"a": 1})
    assert not path.is_symlink() and '"a": 1' in path.read_text()
    assert (foreign / "own.txt").read_text() == "mine"


def test_link_that_a_user_names_is_followed(foreign, tmp_path):
    path = tmp_path / "table.csv"
    path.symlink_to(foreign / "own.txt")
    write_atomically(path, "new", follow=True)
    assert path.is_symlink() and (foreign / "own.txt").read_text() == "new"


@pytest.mark.parametrize("target", ["own.txt", "not there"])
def test_log_is_not_written_through_a_link(target, foreign, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", open(tmp_path / "console", "w"))
    monkeypatch.setattr(logging.root, "handlers", list(logging.root.handlers))
    (tmp_path / "run/log.txt").symlink_to(foreign / target)
    setup_logger(str(tmp_path / "run"))
    print("a line")
    assert (foreign / "own.txt").read_text() == "mine" and not (foreign / "not there").exists()
    assert len(list((tmp_path / "run").glob("log.txt-*"))) == 1


def test_run_with_its_checkpoints_elsewhere_is_removed_without_them(foreign, tmp_path):
    """Else a training anew would go on from the checkpoint of the earlier data."""
    (foreign / "checkpoint").write_text("model.pth.tar-1\n")
    (tmp_path / "run" / PROMPTS).symlink_to(foreign, target_is_directory=True)
    remove_earlier(tmp_path / "run")
    assert not (tmp_path / "run" / CHECKPOINT).exists() and (foreign / "checkpoint").exists()


def test_checkpoint_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    (tmp_path / PROMPTS).mkdir()
    (tmp_path / CHECKPOINT).touch()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    remove_run(tmp_path)
    with pytest.raises(OSError, match="checkpoint cannot be removed"):
        remove_earlier(tmp_path)
