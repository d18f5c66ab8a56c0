"""The published settings of methods in configs/trainers, and the config that a method's script takes by default."""

import pytest

import train

ADAMW = {"OPTIM.NAME": "adamw", "OPTIM.LR": 2e-4, "OPTIM.WEIGHT_DECAY": 1e-2, "DATALOADER.TRAIN_X.BATCH_SIZE": 32}
LORA = {"RANK": 2, "DROPOUT": 0.25, "STEPS_PER_SHOT": 500}
MAPLE = {"OPTIM.LR": 0.0035, "OPTIM.MAX_EPOCH": 5, "DATALOADER.TRAIN_X.BATCH_SIZE": 4}
SRC = {"OPTIM.LR": 0.0025, "DATALOADER.TRAIN_X.BATCH_SIZE": 4}
DEPTHS = {"PROMPT_DEPTH_TEXT": 9, "PROMPT_DEPTH_VISION": 9, "N_CTX_TEXT": 4}
WEIGHTS = {"TEXT_LOSS_WEIGHT": 25, "IMAGE_LOSS_WEIGHT": 10}
TASKRES = {"OPTIM.NAME": "adam", "OPTIM.LR": 0.002, "DATALOADER.TRAIN_X.BATCH_SIZE": 256}
VITS, RESNETS = ("vit_b16", "vit_b32"), ("rn50", "rn101")


@pytest.mark.parametrize(
    "method, configs, shared, own",
    [
        ("CLIPLoRA", VITS, ADAMW, {**LORA, "TOWERS": "both"}),
        ("CLIPLoRA", RESNETS, ADAMW, {**LORA, "TOWERS": "text"}),
        ("MaPLe", VITS, MAPLE, {"DEPTH": 9, "N_CTX": 2}),
        ("PromptSRC", VITS, {**SRC, "OPTIM.MAX_EPOCH": 20}, {**DEPTHS, **WEIGHTS, "GPA_MEAN": 15, "GPA_STD": 1}),
        ("PromptSRC", ["vit_b16_ep50"], {**SRC, "OPTIM.MAX_EPOCH": 50}, {**DEPTHS, "GPA_MEAN": 30, "GPA_STD": 30}),
        ("TaskRes", (*VITS, *RESNETS, "tiny"), TASKRES, {}),
    ],
)
def test_config_has_the_published_settings(method, configs, shared, own):
    expected = {**shared, **{f"TRAINER.{method.upper()}.{key}": value for key, value in own.items()}}
    for name in configs:
        path = train.PROJECT_ROOT / "configs/trainers" / method / f"{name}.yaml"
        arguments = ["--trainer", method, "--config-file", str(path), "DATASET.NUM_SHOTS", "4"]
        cfg = train.setup_cfg(train.parse_args(arguments))
        for key, value in expected.items():
            node = cfg
            for part in key.split("."):
                node = node[part]
            assert node == value, (name, key)


@pytest.mark.parametrize("method", ["MaPLe", "PromptSRC", "CLIPLoRA"])
def test_script_defaults_to_a_vit(call, method):
    folder = {"CLIPLoRA": "clip_lora"}.get(method, method.lower())
    _, calls, _ = call(f"scripts/{folder}/main.sh", "general10", "16", SEEDS="1")
    assert f"configs/trainers/{method}/vit_b16.yaml" in calls[0]
    assert f"/{method}/vit_b16_16shots/default/seed1" in calls[0]
