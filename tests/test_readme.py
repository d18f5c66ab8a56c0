"""What the README says exists, and its commands and examples work."""

import re
import shlex

import pytest
import toy

import train

ROOT = train.PROJECT_ROOT
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The commands of the indented blocks, continuation lines joined, comments dropped."""
    lines = README.replace("\\\n", " ").splitlines()
    starts = ("    bash ", "    python ", "    VARIANT=", "    SEEDS=")
    return [line.split(" #")[0].strip() for line in lines if line.startswith(starts)]


def test_every_file_that_is_named_exists():
    pattern = (
        r"\b((?:scripts|configs|datasets|trainers|docs|tests|evaluation|compat)/[\w./-]+\.(?:sh|py|yaml|md|png|npz))"
    )
    named = set(re.findall(pattern, README))
    assert len(named) > 8
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_every_script_of_a_command_exists():
    scripts = [word for command in commands() for word in shlex.split(command) if word.endswith((".sh", ".py"))]
    assert len(scripts) >= 7 and all((ROOT / script).is_file() for script in scripts)


def test_every_training_command_is_understood(monkeypatch):
    monkeypatch.chdir(ROOT)
    training = [command for command in commands() if command.startswith("python train.py")]
    assert len(training) >= 2
    for command in training:
        cfg = train.setup_cfg(train.parse_args(shlex.split(command)[2:]))
        assert cfg.TRAINER.NAME and cfg.OUTPUT_DIR and cfg.DATASET.NAME


def test_every_config_key_and_default_of_softcpts_table_is_true():
    cfg = train.setup_cfg(train.parse_args([]))
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \| (.*?) \|", README, re.M)
    checked = 0
    from dassl.engine import TRAINER_REGISTRY

    for keys, default in rows:
        keys = re.findall(r"`([\w.]+)`", keys)
        if keys[0] in TRAINER_REGISTRY.registered_names():
            continue
        values = default.split(", ") if len(keys) > 1 and default else [default] * len(keys)
        for key, value in zip(keys, values):
            node = cfg if "." in key else cfg.TRAINER.SOFTCPT
            for part in key.split("."):
                node = node[part]
            assert str(node) == value.strip("`").replace("empty", ""), key
            checked += 1
    assert checked >= 15


@pytest.mark.parametrize("name", ["TunedScale", "MyTasks"])
def test_the_examples_of_a_method_and_a_data_set_run(name, toy_root, tmp_path):
    from dassl.data.datasets import DATASET_REGISTRY
    from dassl.engine import TRAINER_REGISTRY

    block = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if name in block)
    names = (
        "import torch\nfrom torch import nn\nfrom dassl.data.datasets import DATASET_REGISTRY\n"
        "from dassl.engine import TRAINER_REGISTRY\nfrom datasets.base import SplitDataset\n"
        "from datasets.multitask import MultiTask, TaskSpec\nfrom trainers.base import PromptTrainer\n"
        "from trainers.modules.prompts import PromptTemplate\n"
    )
    before = {**TRAINER_REGISTRY._obj_map}, {**DATASET_REGISTRY._obj_map}
    try:
        exec(names + block, {})
        if name == "TunedScale":
            assert train.main(toy.arguments(toy_root, tmp_path / "run", name)) == 0
        else:
            assert [spec.dataset for spec in DATASET_REGISTRY.get(name).specs] == ["MyBirds", "OxfordPets"]
    finally:
        TRAINER_REGISTRY._obj_map, DATASET_REGISTRY._obj_map = before
