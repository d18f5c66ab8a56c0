"""Config files that start from others, by _BASE_."""

import pytest
import yaml

import train
from softcpt.files import BASE_KEY, read_config
from trainers.engine.config import default_cfg
from trainers.engine.settings import merge_file

CONFIGS = train.PROJECT_ROOT / "configs"


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_later_bases_and_own_keys_win(tmp_path):
    write(
        tmp_path,
        first={"OPTIM": {"LR": 0.1, "NAME": "sgd"}, "SEED": 1},
        second={BASE_KEY: "first.yaml", "OPTIM": {"LR": 0.2}},
        third={"SEED": 3, "INPUT": {"TRANSFORMS": ["normalize"]}},
        own={BASE_KEY: ["second.yaml", "third.yaml"], "INPUT": {"TRANSFORMS": []}},
    )
    expected = {"OPTIM": {"LR": 0.2, "NAME": "sgd"}, "SEED": 3, "INPUT": {"TRANSFORMS": []}}
    assert read_config(tmp_path / "own.yaml") == expected


def test_base_may_repeat_but_not_recur(tmp_path):
    write(tmp_path, a={"SEED": 1}, b={BASE_KEY: "a.yaml"}, c={BASE_KEY: ["a.yaml", "b.yaml"]})
    assert read_config(tmp_path / "c.yaml") == {"SEED": 1}
    write(tmp_path, a={BASE_KEY: "b.yaml"})
    with pytest.raises(ValueError, match=r"_BASE_ leads back .*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        read_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"own": {BASE_KEY: "lost.yaml"}}, r"no config file .*lost\.yaml; in .*: own"),
        ({"own": {BASE_KEY: "base.yaml"}, "base": [1, 2]}, r"base\.yaml: expected keys with their values, found list"),
        ({"own": {BASE_KEY: {"a": 1}}}, r"own\.yaml: _BASE_ is the name of a file, or a list of names"),
        ({"own": {BASE_KEY: "base.yaml"}, "base": {"OPTIM": {"LRR": 1}}}, r"own\.yaml: unknown config key OPTIM\.LRR"),
    ],
)
def test_wrong_base_is_an_error(tmp_path, files, message):
    write(tmp_path, **files)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        merge_file(default_cfg(), str(tmp_path / "own.yaml"))


def test_every_method_config_has_method_and_backbone_bases():
    paths = sorted((CONFIGS / "trainers").glob("*/*.yaml"))
    assert len(paths) > 90
    for path in paths:
        bases = yaml.safe_load(path.read_text()).get(BASE_KEY, [])
        if (CONFIGS / "methods" / f"{path.parent.name}.yaml").is_file():
            starts = {f"../../methods/{path.parent.name}.yaml", *(file.name for file in path.parent.glob("*.yaml"))}
            assert bases[0] in starts and bases[1].startswith("../../backbones/"), path
        assert read_config(path)["MODEL"]["BACKBONE"]["NAME"]
