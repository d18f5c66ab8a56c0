"""The calls of train.py that a sweep makes, to compare with those of the shell scripts."""

from __future__ import annotations

from pathlib import Path

from softcpt.sweeps import Method, plan

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "ZeroshotCLIP": "zeroshot",
    "LinearProbe": "linear_probe",
    "CLIPLoRA": "clip_lora",
    "TipAdapter": "tip_adapter",
    "TipAdapterF": "tip_adapter_f",
    "LPPlusPlus": "lp_plus_plus",
}


def folder_of(method: Method) -> str:
    """The folder of a method's script, below scripts/."""
    return FOLDERS.get(method.trainer, method.trainer.lower())


def settings_of(method: Method) -> tuple[list[str], dict[str, str]]:
    """The trailing arguments and variables with which a script makes the run of a method."""
    pairs = [str(item) for pair in method.opts.items() for item in pair]
    variables = {"VARIANT": method.variant} if method.variant and method.trainer != "PLOT" else {}
    return ["tiny", *pairs] if pairs else [], variables


def sweeps_calls(method: Method, out: Path, halves: str = "") -> list[str]:
    """The calls for a method on the demo with 4 shots and seed 1; if separate, for each of two tasks."""
    tuned = method.trainer in ("MaPLe", "PromptSRC", "CLIPLoRA")  # as to the image tower, so the scripts take a ViT
    jobs = plan([method], "demo", [4], [1], "tiny_vit" if tuned else "tiny", halves=halves)
    separate = method.separate and halves != "tasks"
    folders = {"sea animals": "sea-animals", "air": "air"} if separate else {"": ""}
    calls = [job.arguments(f"{ROOT}/data", str(out), *task) for job in jobs for task in folders.items()]
    return [" ".join(["train.py", *words]) for words in calls]
