"""The arguments and variables of scripts/<method>/main.sh and scripts/base2new.sh, and the runs that they ask for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from softcpt.evaluation.provenance import PROJECT_ROOT as ROOT
from softcpt.sweeps.jobs import CONFIGS, DATASETS, Job, absolute, benchmark_folder, default_config
from softcpt.sweeps.methods import TASKS, Method

FLAGS = ("--data-changed", "--test-again")  # with which train.py, not this script, says whether a finished run is done
CONTEXTS: dict[str, dict[str, str]] = {"shared": {}, "per-task": {"TSC": "True"}, "per-class": {"CSC": "True"}}
VARIANTS = {  # {method: {its VARIANT: the keys of its own that define it}}; the first is the default
    "softcpt": {name: {"VARIANT": name} for name in ("NATA", "NATS", "CATA", "CATS", "CSTA", "CSTS")},
    **dict.fromkeys(("coop", "kgcoop", "prograd"), CONTEXTS),
    "protonet": {"fixed": {}, "fine-tuned": {"FINE_TUNED": "True"}},
}
INSTEAD = {
    "plot": "; PROMPTS sets its number of prompts, TRAINER.PLOT.N",
    "zeroshot": "; TRAINER.ZEROSHOTCLIP.ENSEMBLE True averages several templates",
}
FOR_A_VIT = {"tiny": "tiny_vit", "rn50": "vit_b16"}  # default configs of methods that tune the image tower
TUNES_IMAGES = ("maple", "promptsrc", "clip_lora")
KEY = re.compile(r"RECIPE|[A-Z][A-Z0-9_]*\.[A-Z0-9_.]+")
# Parameters that were learned for each class, or for each task, are of no use for new ones.
OF_ITS_CLASSES = ("linear_probe", "lp_plus_plus", "protonet", "taskres", "tip_adapter", "tip_adapter_f")
POSSIBLE = (
    "SoftCPT NATA and CATA, CoOp, KgCoOp and ProGrad with one shared context, CoCoOp, PLOT, MaPLe, PromptSRC, "
    "CLIP-LoRA and ProLIP can"
)


class UsageError(ValueError):
    """Wrong arguments; "" if there are too few of them. The usage is shown below the message."""


# -- what is asked for -----------------------------------------------------------------------------------------------


def method_scripts() -> list[str]:
    return sorted(path.parent.name for path in ROOT.glob("scripts/*/main.sh"))


def trainer_of(script: str) -> str:
    """The trainer of scripts/<script>/main.sh: "TipAdapterF" for "tip_adapter_f"."""
    name = "zeroshotclip" if script == "zeroshot" else script.replace("_", "")
    return next(path.name for path in CONFIGS.iterdir() if path.name.lower() == name)


def names(folder: Path) -> str:
    return " ".join(sorted(path.stem for path in folder.glob("*.yaml")))


@dataclass
class Call:
    """A call of a method's script.

    Args:
        script: the method's folder in scripts/.
        words: DATASET SHOTS [CFG] [KEY VALUE ...], without SHOTS for zero-shot CLIP.
        variables: the environment.
    """

    script: str
    words: list[str]
    variables: dict[str, str]

    def __post_init__(self) -> None:
        self.separate = self.variables.get("SEPARATE") or "0"
        if self.separate not in ("0", "1"):
            raise ValueError(f"SEPARATE={self.separate} is not one of 0, 1")
        self.data = absolute(self.variables.get("DATA") or str(ROOT / "data"))
        self.out = absolute(self.variables.get("OUT") or str(ROOT / "output"))

    def jobs(self, half: str = "") -> list[Job]:
        """The runs. Raises ValueError, and UsageError where the arguments are wrong."""
        trainer, (variant, settings), learns = trainer_of(self.script), self.variant(), self.script != "zeroshot"
        if len(self.words) < 1 + learns:
            raise UsageError
        dataset, *rest = self.words
        if not learns and rest and re.fullmatch("-?[0-9]+", rest[0]):
            rest = rest[1:]  # a number of shots, as other methods have
        shots, seeds = (rest.pop(0), self.variables.get("SEEDS") or "1 2 3") if learns else ("0", "1")
        if not re.fullmatch("( *[0-9]+)+ *", seeds):
            raise ValueError(f"SEEDS={seeds}: seeds are numbers, separated by spaces")
        self.refuse_order_of_coop(trainer, dataset, shots, rest)
        if dataset not in names(DATASETS).split():
            raise UsageError(f"no data set {dataset}")
        if learns:
            check_shots(shots)
        config, opts = self.config_and_pairs(trainer, dataset, rest)
        method = Method(trainer, trainer, variant, settings, opts, self.separate == "1", shots=learns)
        place = benchmark_folder(dataset, self.data)
        return [Job(method, dataset, config, int(shots), int(seed), half, place) for seed in seeds.split()]

    def variant(self) -> tuple[str, dict[str, str]]:
        """The variant's name, and the config keys that define it."""
        given, prefix = self.variables.get("VARIANT") or "", f"TRAINER.{trainer_of(self.script).upper()}."
        variants = VARIANTS.get(self.script)
        if variants is None and given:
            raise ValueError(f"VARIANT={given}: {self.script} has no variants{INSTEAD.get(self.script, '')}")
        if self.script == "plot":
            given = self.variables.get("PROMPTS") or "4"
            return f"{given}-prompts", {f"{prefix}N": given}
        if variants is None:
            return "", {}
        given = given or next(iter(variants))
        if given not in variants:
            raise ValueError(f"VARIANT={given} is not one of {', '.join(variants)}")
        return given, {prefix + key: value for key, value in variants[given].items()}

    def config_and_pairs(self, trainer: str, dataset: str, rest: Sequence[str]) -> tuple[str, dict[str, str]]:
        """CFG, or the default, and the trailing pairs."""
        config = default_config(dataset)
        config = FOR_A_VIT[config] if self.script in TUNES_IMAGES else config
        if len(rest) % 2:
            config, *rest = rest
            known = names(CONFIGS / trainer)
            if config not in known.split():
                raise UsageError(f"{trainer} has no config {config}; CFG is one of {known}")
        opts = dict(zip(rest[::2], rest[1::2]))
        for key in opts:
            if not KEY.fullmatch(key):
                raise UsageError(f"{key} is no config key such as OPTIM.LR")
            if key == TASKS and self.separate == "1":
                raise ValueError(f"SEPARATE=1 trains on every task of the data set: {TASKS} cannot be given")
        return config, opts

    def refuse_order_of_coop(self, trainer: str, dataset: str, config: str, rest: Sequence[str]) -> None:
        """Answer a call in the order of CoOp's scripts: DATASET CFG CTP NCTX SHOTS CSC."""
        number = len(rest) > 2 and re.fullmatch("[0-9]+", rest[2])
        if number and re.fullmatch(r"\w+", dataset, re.A) and not re.fullmatch("-?[0-9]+", config):
            position, length, shots, *csc = rest
            variant = "VARIANT=per-class " if csc and csc[0].lower() == "true" else ""
            key = f"TRAINER.{trainer.upper()}"
            raise UsageError(
                f"SHOTS is {config}: here the number of shots is the second argument and the config the third, not as "
                f"in CoOp's scripts. That call here: {variant}bash scripts/{self.script}/main.sh {dataset} {shots} "
                f"{config} {key}.N_CTX {length} {key}.CLASS_TOKEN_POSITION {position}"
            )


def check_shots(shots: str) -> None:
    if not re.fullmatch("-1|[1-9][0-9]*", shots):
        raise UsageError(f"SHOTS is {shots}; it is a number, at least 1, or -1 for all images")


# -- base and new halves ---------------------------------------------------------------------------------------------


def base_to_new(call: Call) -> list[Job]:
    """The runs of a method and of zero-shot CLIP that train on the base half and test on both halves."""
    halves = "classes" if (call.variables.get("TASKS") or "0") == "0" else "tasks"
    if call.script != "zeroshot":
        check_shots(call.words[1])
    if call.separate == "1" and halves == "tasks":
        raise ValueError("SEPARATE=1 trains on each task alone, which learns nothing for new tasks")
    if call.script in OF_ITS_CLASSES:
        raise ValueError(own_parameters(call.script, "class", halves))
    call.variant()  # refuses one that the method does not have
    dataset, _, *rest = call.words
    config, opts = call.config_and_pairs(trainer_of(call.script), dataset, rest)
    for key, value in {"VARIANT": call.variables.get("VARIANT") or "", **opts}.items():
        key = key.rpartition(".")[2]
        given = f"{key}={value}"
        if re.fullmatch("CSC=([Tt]rue|1)|VARIANT=(per-class|CST.)", given):
            raise ValueError(own_parameters(f"{call.script} with {key} {value}", "class", halves))
        own = re.fullmatch("TSC=([Tt]rue|1)|VARIANT=(per-task|..TS)|TASK_FEATURES=learned", given)
        if own and halves == "tasks":
            raise ValueError(own_parameters(f"{call.script} with {key} {value}", "task", halves))
    of_data = [word for pair in opts.items() if pair[0].startswith(("DATASET.", "INPUT.", "MODEL.")) for word in pair]
    variables = {key: value for key, value in call.variables.items() if key not in ("VARIANT", "SEPARATE")}
    calls = [Call("zeroshot", [dataset, config, *of_data], variables)]
    calls += [call] if call.script != "zeroshot" else []
    return [job for half in ("base", "new") for own in calls for job in own.jobs(f"{half}-{halves}")]


def own_parameters(method: str, unit: str, halves: str) -> str:
    return f"{method} learns parameters of their own for each {unit}, which do not serve new {halves}; {POSSIBLE}"
