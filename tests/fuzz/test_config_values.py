"""Every key of a config with odd values: legal, and then a run starts, or one error that names the key.

A table of the outcomes: bash scripts/test.sh tests/fuzz -m slow -s
"""

import os
import random
from collections import Counter

import pytest
import toy
import yaml
from dassl.engine import TrainerX
from fuzz.hostile import TooLong, limited
from methods import METHODS

import train
from trainers.engine.config import default_cfg
from trainers.engine.settings import flatten

SEED = int(os.environ.get("FUZZ_SEED", 21))  # of the order, and of the methods
NUMBERS = (0, -1, 1, 3, -5, 10**9, 10**12, 10**40, 0.5, -0.5, 1e-300, 1e300, 1e-12, 10**6, 512)
OTHERS = (
    float("nan"), float("inf"), -float("inf"), True, False, None, "", "x", "\0", "a/b", "{}", "é", "x" * 5000,
    [], [0], [1, 2], [0.6], [0, 0, 0], [1, 1, 1], ["a"], ["normalize"], [float("nan")] * 3, [None, None], [[1]],
    {"A": 1},
)  # fmt: skip
DEEP = "[" * 300 + "]" * 300
FREE = {"OUTPUT_DIR", "USE_CUDA", "VERBOSE"}  # set by the test, or of no effect on what is read


def cases():
    """(method, key, value) of each key, the shared ones with one method after the other."""
    rng, found = random.Random(SEED), []
    for key, default in flatten(default_cfg()).items():
        parts = key.split(".")
        own = [name for name in METHODS if parts[0] == "TRAINER" and len(parts) > 2 and name.upper() == parts[1]]
        for value in (*NUMBERS, *OTHERS, DEEP, default):
            if key not in FREE:
                found.append(((own or [rng.choice(METHODS)])[0], key, value))
    rng.shuffle(found)
    return found


def outcome(root, folder, method, key, value, capsys):
    """ "refused", "failed" with one line, or "ran"; AssertionError or a traceback for anything else."""
    config = value if value is DEEP else yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n")
    for part in reversed(key.split(".")):
        config = f"{{{part}: {config}}}"
    (folder / "odd.yaml").write_text(config, encoding="utf-8")
    arguments = toy.arguments(root, folder / "run", method, "OPTIM.MAX_EPOCH", 1, "DATASET.NUM_SHOTS", 1)
    kept = [i for i, word in enumerate(arguments) if word == key]  # else it would win
    arguments = [word for i, word in enumerate(arguments) if i not in kept and i - 1 not in kept]
    try:
        with limited(), toy.as_a_process():
            status = train.main(["--config-file", str(folder / "odd.yaml"), *arguments])
    except TooLong:
        return "ran"
    error = capsys.readouterr().err
    if not status:
        return "ran"
    lines = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and len(lines[0]) < 5000, error
    if status == 2:
        assert key in lines[0] or str(folder / "odd.yaml") in lines[0], lines
    return "refused" if status == 2 else "failed"


@pytest.fixture
def one_epoch(monkeypatch):
    """Runs end after an epoch, whatever their number, and a search of settings tries few."""
    before_train = TrainerX.before_train

    def short(self):
        before_train(self)
        self.max_epoch = min(self.max_epoch, 1)

    monkeypatch.setattr(TrainerX, "before_train", short)


@pytest.mark.parametrize("count", [40, pytest.param(None, marks=pytest.mark.slow)])
def test_odd_value_is_legal_or_one_named_error(toy_root, tmp_path, monkeypatch, capsys, one_epoch, count):
    monkeypatch.chdir(tmp_path)  # folders of odd names are made here
    found, faults = Counter(), []
    for i, (method, key, value) in enumerate(cases()[:count]):
        folder = tmp_path / str(i)
        folder.mkdir()
        try:
            found[outcome(toy_root, folder, method, key, value, capsys)] += 1
        except Exception as error:
            faults.append(f"{method}, {key}, {value!r:.80}: {error!r:.300}")
    with capsys.disabled():
        print(f"\nseed {SEED}: {sum(found.values()):,} odd values, {dict(found)}")
    assert not faults, "\n" + "\n".join(faults)
