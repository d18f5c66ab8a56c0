"""The files that the documentation names exist, and its commands are valid."""

import re
import shlex
from collections.abc import Sequence

from torch.distributed.run import get_args_parser

import train

ROOT = train.PROJECT_ROOT
README = (ROOT / "README.md").read_text()
DOCUMENTS = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
del DOCUMENTS["extending.md"]  # whose files and commands are those of a user: tests/docs/test_extending.py
COMMAND = r"(?:[A-Z_]+=\S+ )*(?:bash|python|torchrun) "


def commands() -> list[list[str]]:
    """The words of all commands in indented blocks, with continuation lines joined, and in sentences."""
    found = []
    for text in DOCUMENTS.values():
        found += re.findall(rf"^    ({COMMAND}.*?)(?: #|$)", text.replace("\\\n", " "), re.M)
        found += re.findall(rf"(?<!`)`({COMMAND}(?:scripts/|train\.py)[^`]*)`", re.sub(r"\s+", " ", text))
    return [shlex.split(command) for command in found]


def without_variables(words: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    """The variables set in front of a command, and the rest."""
    count = next(i for i, word in enumerate(words) if not re.match("[A-Z_]+=", word))
    return dict(word.split("=", 1) for word in words[:count]), words[count:]


def understood(arguments: list[str]) -> None:
    """Raise ValueError unless the files, flags, keys and values in train.py's arguments exist."""
    cfg = train.setup_cfg(train.parse_args(arguments))
    assert cfg.TRAINER.NAME and cfg.OUTPUT_DIR and cfg.DATASET.NAME


def test_every_form_of_command_is_found():
    found = [" ".join(words) for words in commands()]
    starts = ["bash scripts/demo.sh", "python train.py", "torchrun --"]
    starts += ["TASKS=", "DATA=", "SEEDS=", "VARIANT=", "SEPARATE="]
    assert all(any(command.startswith(start) for command in found) for start in starts)
    assert len(found) > 30


def test_named_files_exist():
    folders = "scripts|configs|datasets|trainers|docs|tests|compat|softcpt"
    texts = [text for name, text in DOCUMENTS.items() if name != "recipes.md"]  # which names files of other projects
    named = set(re.findall(rf"\b((?:{folders})/[\w./-]+\.(?:sh|py|yaml|md|png|npz))", "\n".join(texts)))
    assert len(named) > 8
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_scripts_know_their_variables_and_flags():
    shared = {".sh": "scripts/lib/method_calls.py", ".py": "scripts/lib/bench/harness.py"}
    elsewhere = {"sweep.py": "scripts/lib/sweep_arguments.py", "distil.py": "scripts/demo/pretraining/pretrain.py"}
    elsewhere["test.sh"] = "tests/fuzz/hostile.py"  # reads variables of its own
    for words in commands():
        variables, words = without_variables(words)
        script = next(word for word in words if word.endswith((".sh", ".py")))
        assert (ROOT / script).is_file(), script
        text = (ROOT / script).read_text() + (ROOT / shared[script[-3:]]).read_text()
        parser = elsewhere.get(script.split("/")[-1], script)
        text += (ROOT / parser).read_text()
        for name in variables:
            assert name == "OMP_NUM_THREADS" or re.search(rf'\$\{{?{name}\b|"{name}"', text), f"{name}: {script}"
        for flag in words[words.index(script) :]:
            known = re.search(rf'"{flag}"|[ (]{flag}[ )]', text)  # a string in Python, a word of a shell's case
            assert not flag.startswith("--") or known, f"{flag}: {script}"


def test_training_commands_are_valid(monkeypatch):
    monkeypatch.chdir(ROOT)
    training = [words for _, words in map(without_variables, commands()) if "train.py" in words]
    assert len(training) >= 4
    for words in training:
        if words[0] == "torchrun":
            words = ["python", "train.py", *get_args_parser().parse_args(words[1:]).training_script_args]
        assert words[:2] == ["python", "train.py"]
        understood(words[2:])


def test_method_scripts_call_train_correctly(call, monkeypatch):
    monkeypatch.chdir(ROOT)
    scripts = {tuple(words) for words in commands() if re.search(r"/main\.sh|base2new\.sh", " ".join(words))}
    assert len(scripts) >= 6
    for words in scripts:
        variables, words = without_variables(words)
        status, calls, output = call(*words[1:], **variables, OUT="_".join(words))
        assert status == 0, output
        calls = [line.replace("sea animals", "sea-animals").split() for line in calls if line.startswith("train.py")]
        assert calls
        for line in calls:
            understood(line[1:])


def test_documented_config_keys_and_defaults_are_true():
    cfg = train.setup_cfg(train.parse_args([]))
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \| (.*?) \|", DOCUMENTS["configuration.md"], re.M)
    checked = 0
    for keys, default in rows:
        keys = re.findall(r"`([\w.]+)`", keys)
        values = default.split(", ") if len(keys) > 1 and default else [default] * len(keys)
        for key, value in zip(keys, values):
            node = cfg if "." in key or key in cfg else cfg.TRAINER.SOFTCPT
            for part in key.split("."):
                node = node[part]
            assert str(node) == value.strip("`").replace("empty", ""), key
            checked += 1
    assert checked >= 15


def test_every_method_is_in_the_tables():
    from dassl.engine import TRAINER_REGISTRY

    from trainers.base import PromptTrainer

    for document in ("README.md", "methods.md"):
        rows = "\n".join(line for line in DOCUMENTS[document].splitlines() if line.startswith("| `"))
        for name in TRAINER_REGISTRY.registered_names():
            method = TRAINER_REGISTRY.get(name)
            if issubclass(method, PromptTrainer) and (ROOT / "configs" / "trainers" / name / "rn50.yaml").is_file():
                assert f"`{name}`" in rows or not method.__module__.startswith("trainers."), (document, name)


def test_readme_is_short_and_all_links_work():
    assert len(README.splitlines()) < 160
    for name, text in DOCUMENTS.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
            assert (folder / link).exists(), f"{name}: {link}"
