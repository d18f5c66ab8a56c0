"""docs/recipes.md, and `RECIPE published`."""

import copy

import pytest
import toy
import yaml
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY

import train
from scripts import sweep
from scripts.recipes import FILE, PAGE, page
from softcpt.sweeps.methods import Method, by_recipe
from trainers.base import PromptTrainer
from trainers.engine.recipes import at_shots, published

RECIPES = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def config_of(*words):
    """The config of train.py's words."""
    return train.setup_cfg(train.parse_args(list(words)))


def test_page_is_that_of_the_configs():
    assert PAGE.read_text(encoding="utf-8") == page(RECIPES), "python scripts/recipes.py"


def test_every_method_has_a_recipe():
    registry = [TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()]
    own = {m.__name__ for m in registry if issubclass(m, PromptTrainer) and m.__module__.startswith("trainers.")}
    assert own == set(RECIPES)


@pytest.mark.parametrize(
    "method, key", [("CoOp", "OPTIM.MAX_EPOCH"), ("TaskRes", "OPTIM.LR"), ("PLOT", "method on a ViT")]
)
def test_difference_without_a_reason_is_refused(method, key):
    changed = copy.deepcopy({name: RECIPES[name] for name in {"CoOp", method}})
    del changed[method]["rows"][key]["reason"]
    with pytest.raises(ValueError, match=f"{method}: {key} is .* and has no reason"):
        page(changed)


def test_unknown_key_is_refused():
    with pytest.raises(ValueError, match="recipes.yaml: CoOp: unknown config key OPTIM.EPOCHS"):
        page({"CoOp": {**RECIPES["CoOp"], "rows": {"OPTIM.EPOCHS": {"code": 1}}}})


def test_data_sets_are_known():
    """No value is for a data set that no run can have."""
    named = {name for recipe in RECIPES.values() for row in recipe["rows"].values() for name in row.get("datasets", ())}
    assert named and named <= set(DATASET_REGISTRY.registered_names())


@pytest.mark.parametrize("method", RECIPES)
@pytest.mark.parametrize("dataset", ["", "OxfordFlowers", "ImageNet", "EuroSAT", "DescribableTextures"])
def test_published_values_are_legal(method, dataset):
    config = RECIPES[method].get("config", "rn50")
    words = ("--trainer", method, "--config-file", f"configs/trainers/{method}/{config}.yaml")
    cfg = config_of(*words, "DATASET.NUM_SHOTS", "16", "DATASET.NAME", dataset, "RECIPE", "published")
    for key, value in published(method, 16, dataset).items():
        node = cfg
        for part in key.split("."):
            node = node[part]
        assert (list(node) if isinstance(node, list | tuple) else node) == value, key


def test_epochs_follow_the_shots_and_own_keys_win():
    words = ("--trainer", "CoOp", "--config-file", "configs/trainers/CoOp/rn50.yaml")
    for shots, epochs in ((1, 50), (2, 100), (3, 100), (16, 200), (32, 200), (-1, 200)):
        own = ("DATASET.NUM_SHOTS", str(shots))
        assert config_of(*words, *own).OPTIM.MAX_EPOCH == 50
        assert config_of(*words, *own, "RECIPE", "published").OPTIM.MAX_EPOCH == epochs
        assert config_of(*words, *own, "RECIPE", "published", "OPTIM.MAX_EPOCH", "7").OPTIM.MAX_EPOCH == 7
    assert at_shots({"shots": {2: "a", 4: "b"}}, 1) == "a"
    with pytest.raises(ValueError, match="RECIPE"):
        config_of(*words, "RECIPE", "papers")


def test_recipe_is_resolved_in_the_run(toy_root, tmp_path, capsys):
    (tmp_path / "own.yaml").write_text("RECIPE: published\n")
    arguments = toy.arguments(toy_root, tmp_path / "run", "TipAdapterF", "RECIPE", "published", "OPTIM.MAX_EPOCH", 2)
    assert train.main(arguments) == 0
    saved = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert (saved["RECIPE"], saved["OPTIM"]["MAX_EPOCH"], saved["TRAIN"]["DROP_LAST"]) == ("published", 2, False)
    capsys.readouterr()
    assert train.main(arguments) == 0 and "done before" in capsys.readouterr().out
    again = config_of("--config-file", str(tmp_path / "run/config.yaml"))
    assert again.OPTIM.MAX_EPOCH == 2, "a run's own config has its values already"
    own = config_of("--trainer", "TaskRes", "--config-file", str(tmp_path / "own.yaml"), "DATASET.NUM_SHOTS", "8")
    assert own.OPTIM.MAX_EPOCH == 200
    tested = toy.arguments(toy_root, tmp_path / "new", "TipAdapterF", "RECIPE", "published")
    assert train.main(["--eval-only", "--model-dir", str(tmp_path / "run"), *tested]) == 0


def test_sweeps_runs_name_the_recipe():
    methods = [Method("a", "CoOp", variant="shared"), Method("b", "TaskRes", opts={"OPTIM.LR": 1})]
    assert by_recipe(methods, "equal") == methods
    named = by_recipe(methods, "published")
    assert [method.label for method in named] == ["a, published", "b, published"]
    assert [method.run_label for method in named] == ["shared_RECIPE-published", "OPTIM.LR-1_RECIPE-published"]


@pytest.mark.parametrize("recipe, count", [("equal", 0), ("published", 1)])
def test_sweep_trains_by_the_recipe(tmp_path, capsys, recipe, count):
    (tmp_path / "own.yaml").write_text("methods: [{label: TaskRes, trainer: TaskRes}]")
    words = [str(tmp_path / "own.yaml"), *"--benchmark demo --shots 16 --seeds 1 --dry".split()]
    assert sweep.main([*words, "--out", str(tmp_path), "--data", str(tmp_path), "--recipe", recipe]) == 0
    calls = [line for line in capsys.readouterr().out.splitlines() if line.startswith("python train.py")]
    assert len(calls) == 1 and calls[0].count(" RECIPE published") == count
