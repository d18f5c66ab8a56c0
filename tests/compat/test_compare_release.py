"""scripts/compare_release.py: what it plays to the authors' code, and when it calls two runs equal."""

import json
from argparse import Namespace

import compare_release
import pytest
import torch
from compare_release import Played, accept_verbose, compare


def test_played_labels_are_rows_of_the_own_task():
    images = torch.zeros(2, 3, 4, 4)
    loader = Played([(images, torch.tensor([0, 4])), (images, torch.tensor([1, 2]))], [2, 3], 1)
    (first,), (second,), (again,) = list(loader), list(loader), list(loader)
    assert first["label"].tolist() == [[1, 0, -1, -1, -1], [-1, -1, 0, 0, 1]]
    assert second["label"].tolist() == [[0, 1, -1, -1, -1], [-1, -1, 1, 0, 0]]
    assert again["label"].equal(first["label"]) and len(loader) == 1 and first["img"] is images


def test_schedules_take_the_argument_that_pytorch_removed(monkeypatch):
    schedule = type("Schedule", (torch.optim.lr_scheduler.LRScheduler,), {"get_lr": lambda self: [0.5]})
    accept_verbose(schedule)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert schedule(optimiser, -1, False).get_last_lr() == [0.5]


@pytest.mark.parametrize(
    "losses, values, agree",
    [
        ([1.0, 2.0 + 9e-9], [50.0, 60.0], True),
        ([1.0, 2.0 + 2e-8], [50.0, 60.0], False),
        ([1.0], [50.0, 60.0], False),
        ([1.0, 2.0], [50.0, 60.1], False),
    ],
)
def test_losses_and_accuracies_must_agree(tmp_path, monkeypatch, capsys, losses, values, agree):
    def told(arguments, path):
        side = arguments[0].removeprefix("--")
        found = {"losses": [1.0, 2.0], "values": [50.0, 60.0]}
        found = found if side == "here" else {"losses": losses, "values": values}
        (tmp_path / f"run/{side}.json").write_text(json.dumps(found))

    monkeypatch.setattr(compare_release, "call", told)
    args = Namespace(shots=4, epochs=2, seed=1)
    assert compare(tmp_path / "run", tmp_path, tmp_path, "NATA", args) is agree
    assert capsys.readouterr().out.startswith("| NATA | 2 | ")


def test_folder_without_the_release_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        compare_release.main(["--release", str(tmp_path)])
    assert "has no trainers/mtcoop.py" in capsys.readouterr().err
