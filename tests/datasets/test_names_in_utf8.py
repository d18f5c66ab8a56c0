"""Names on disk that are not UTF-8, as old archives and cameras leave them.

No file of a run could hold them, so reading data names them; predictions of such pictures are written.
"""

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from data_sets import build, fill

from datasets.raw import read_rows
from scripts import data
from softcpt.files import write_atomically
from softcpt.inference.predictions import Prediction, csv_of, json_of
from trainers.engine.calls import check_run_folder
from trainers.finished.new_tasks import new_task, read_names

BAD = os.fsdecode(b"caf\xe9")  # é in Latin-1
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")


def own_folders(root, where):
    """Own pictures with one such name: of an image, a class or a task; the path that is to be renamed."""
    names = {"image": "0.png", "class": "one", "task": "things"}
    for name in ("one", "two"):
        fill(root / "things" / name, 6)
    old = {"image": root / "things" / "one" / "0.png", "class": root / "things" / "one", "task": root / "things"}[where]
    new = old.with_name(BAD + Path(names[where]).suffix)
    old.rename(new)
    return new


@pytest.mark.parametrize("where", ["image", "class", "task"])
def test_reading_own_folders_names_what_to_rename(tmp_path, capsys, where):
    bad = own_folders(tmp_path, where)
    with pytest.raises(ValueError) as error:
        build(tmp_path)
    assert str(error.value).endswith(f"rename what is not named in UTF-8: {str(bad)!r}")
    for command in ("check", "splits", "shots"):
        assert data.main([command, "FolderTasks", "--root", str(tmp_path)]) == 1
        shown = "".join(capsys.readouterr())
        assert f"rename what is not named in UTF-8: {str(bad)!r}" in shown and "All right" not in shown
    assert not (tmp_path / "tasks.csv").exists()


def test_such_names_that_are_new_beside_a_table(tmp_path, capsys):
    for name in ("one", "two"):
        fill(tmp_path / "things" / name, 6)
    assert data.main(["splits", "FolderTasks", "--root", str(tmp_path)]) == 0
    table = (tmp_path / "tasks.csv").read_bytes()
    bad = tmp_path / "things" / "one" / f"{BAD}.png"
    bad.write_bytes((tmp_path / "things" / "one" / "0.png").read_bytes())
    capsys.readouterr()
    for command in ("check", "splits"):
        assert data.main([command, "FolderTasks", "--root", str(tmp_path)]) == 1
        assert f"rename what is not named in UTF-8: {str(bad)!r}" in "".join(capsys.readouterr())
    assert (tmp_path / "tasks.csv").read_bytes() == table


def test_published_folders_are_named_too(tmp_path):
    for name in ("one", BAD, f"{BAD} two"):
        fill(tmp_path / "dtd" / "images" / name, 4, ".jpg")
    with pytest.raises(ValueError) as error:
        build(tmp_path, "DescribableTextures")
    found = [str(tmp_path / "dtd" / "images" / name) for name in (BAD, f"{BAD} two")]
    assert str(error.value).endswith(f"rename what is not named in UTF-8: {found[0]!r}, {found[1]!r}")


def test_predictions_of_such_pictures_are_written(tmp_path):
    picture = tmp_path / f"{BAD}.png"
    picture.write_bytes(b"")
    made = [Prediction(picture, {"": torch.tensor([0.75, 0.25])}), Prediction(picture, error=f"cannot read {picture}")]
    write_atomically(tmp_path / "p.csv", csv_of(made, "things", ["one", "two"], 1))
    write_atomically(tmp_path / "p.json", json_of(made, "things", ["one", "two"], 1, str(picture)))
    rows = list(csv.reader(io.StringIO((tmp_path / "p.csv").read_text(encoding="utf-8"))))
    assert rows[1:] == [[rf"{tmp_path}/caf\udce9.png", "things", "1", "one", "0.75"]]
    found = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert [found["source"], found["images"][0]["path"], found["errors"][0]["path"]] == [str(picture)] * 3
    assert Path(found["images"][0]["path"]).samefile(picture)


def test_lines_that_are_not_utf8_are_named(tmp_path):
    fill(tmp_path / "a", 3)
    (tmp_path / "tasks.csv").write_bytes(b"path,task,class\na/0.png,t,tea\na/1.png,t,caf\xe9\n")
    with pytest.raises(ValueError, match=r"tasks\.csv: line 3 is not in UTF-8: b'a/1\.png,t,caf\\xe9'; save it as"):
        build(tmp_path)
    names = tmp_path / "names.txt"
    names.write_bytes(b"tea\ncaf\xe9\n")
    for read in (read_names, lambda path: list(read_rows(path, ("name",)))):
        with pytest.raises(ValueError, match=r"names\.txt: line 2 is not in UTF-8: b'caf\\xe9'"):
            read(names)


def test_other_texts_of_a_call_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"'caf\\udce9' is not text in UTF-8"):
        new_task(BAD, ["one", "two"])
    (tmp_path / BAD).mkdir()
    with pytest.raises(ValueError, match="^--model-dir: .* is not a name in UTF-8"):
        check_run_folder("--model-dir", str(tmp_path / BAD))
    with pytest.raises(ValueError, match=r"x\.json cannot be written: .*caf\\udce9"):
        write_atomically(tmp_path / "x.json", f"a {BAD}")
    assert [path.name for path in tmp_path.iterdir()] == [BAD]
