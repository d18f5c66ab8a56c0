"""Predictions of a call that is stopped: the same call goes on, another one begins anew."""

import os
import subprocess

import predict
import pytest
from warm_python import python

import train
from softcpt.inference import predictions
from softcpt.inference.unfinished import Unfinished

TASK = ("--task", "flower recognition", "DATALOADER.TEST.BATCH_SIZE", "2")
KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv.pop(1).split(":")
import predict, toy
from softcpt.inference.unfinished import Unfinished
own, count = Unfinished.add, [0]
def add(self, prediction):
    own(self, prediction)
    count[0] += 1
    if count[0] == 5:
        os.kill(os.getpid(), getattr(signal, os.environ["BY"]))
Unfinished.add = add
sys.exit(predict.main(sys.argv[1:]))
"""


@pytest.fixture
def call(run, flowers, tmp_path, capsys, monkeypatch):
    """A function: predict into found.csv and found.json; (status, stderr, number of pictures that were read)."""

    def call(*more, places=(str(flowers),), name="found"):
        read = []
        own = predictions.image_batches
        monkeypatch.setattr(predictions, "image_batches", lambda paths, *args: read.extend(paths) or own(paths, *args))
        tables = ["--csv", str(tmp_path / f"{name}.csv"), "--json", str(tmp_path / f"{name}.json")]
        status = predict.main([str(run), *places, *tables, *TASK, *more])
        monkeypatch.setattr(predictions, "image_batches", own)
        return status, capsys.readouterr().err, len(read)

    return call


def stopped(run, flowers, tmp_path, by):
    """A call that is stopped by a signal after five of nine pictures."""
    tables = ["--csv", str(tmp_path / "found.csv"), "--json", str(tmp_path / "found.json")]
    paths = ":".join(f"{train.PROJECT_ROOT}/{folder}" for folder in (".", "scripts", "tests/helpers"))
    code = KILLED.replace("import predict, toy", "import train, predict, toy")
    command = [python(), "-c", code, paths, str(run), str(flowers), *tables, *TASK]
    done = subprocess.run(command, capture_output=True, text=True, cwd=train.PROJECT_ROOT, env={**os.environ, "BY": by})
    assert done.returncode != 0 and "error:" not in done.stderr, done.stderr
    assert not (tmp_path / "found.csv").exists() and not (tmp_path / "found.json").exists()
    return tmp_path / ".found.csv.softcpt-unfinished"


@pytest.mark.parametrize("by", ["SIGKILL", "SIGTERM"])
def test_stopped_call_goes_on(by, run, flowers, tmp_path, call):
    kept = stopped(run, flowers, tmp_path, by)
    assert len(kept.read_bytes().splitlines()) == 6  # what they are of, and five pictures
    kept.write_bytes(kept.read_bytes() + b'{"error": "", "sco')  # a line that was cut off
    status, error, read = call()
    assert (status, read) == (0, 5) and "4 of 9 pictures are done; the others follow" in error  # in batches of two
    assert sorted(os.listdir(tmp_path)) == ["found.csv", "found.json"]
    assert call(name="whole") == (0, "", 9)
    for suffix in ("csv", "json"):
        assert (tmp_path / f"found.{suffix}").read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()


def test_changed_call_begins_anew(run, flowers, tmp_path, call):
    kept = stopped(run, flowers, tmp_path, "SIGKILL")
    content = kept.read_bytes()
    picture = sorted(flowers.rglob("*.png"))[0]
    for more, places, reason in (
        (("--top", "1"), (str(flowers),), "the settings"),
        ((), (str(picture),), "the pictures"),
    ):
        kept.write_bytes(content)
        status, error, read = call(*more, places=places)
        assert status == 0 and f"are begun anew: {reason} changed" in error and read == (9 if more else 1)
    kept.write_bytes(b"not a line of JSON")
    assert call() == (0, "", 9)


def test_number_of_workers_does_not_matter(run, flowers, tmp_path, call):
    stopped(run, flowers, tmp_path, "SIGKILL")
    status, error, read = call("DATALOADER.NUM_WORKERS", "1")
    assert (status, read) == (0, 5) and "4 of 9 pictures are done" in error


def test_unreadable_pictures_are_kept_too(run, flowers, tmp_path, call, monkeypatch):
    (tmp_path / "a.png").write_text("no picture")
    places = (str(tmp_path / "a.png"), str(flowers))
    write = predict.write_atomically
    monkeypatch.setattr(predict, "write_atomically", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        call(places=places)
    monkeypatch.setattr(predict, "write_atomically", write)
    status, error, read = call(places=places)
    assert (
        (status, read) == (1, 0) and "10 of 10 pictures are done" in error and "error: cannot read the image" in error
    )


def test_second_call_for_one_file_is_refused(run, flowers, tmp_path, call):
    """Their lines would be mixed, and continued as one."""
    first = Unfinished(tmp_path / "found.csv", {"the task": "x"}, 3, 1)
    first.start([], 1)
    status, error, _ = call()
    assert status == 2 and error.startswith("error: ") and "another call makes predictions for this file" in error
    first.remove()
    assert call()[0] == 0


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_pipe_is_refused_and_link_is_followed(kind, run, flowers, tmp_path, call):
    path = tmp_path / "found.csv"
    if kind == "pipe":
        os.mkfifo(path)
        status, error, read = call()
        assert (status, read) == (2, 0) and f"error: {path} cannot be written: it is no regular file" in error
        assert path.is_fifo()
    else:
        path.symlink_to("real.csv")
        assert call()[0] == 0 and path.is_symlink() and (tmp_path / "real.csv").read_text().startswith("path,task,rank")
