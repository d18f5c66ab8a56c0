"""The legal values of every config key that is read. They are checked before anything is loaded.

`RULES` has Dassl's keys and those that all methods share; a method's own are in its `legal`. The type of a value is
that of the key's default. Keys without a rule, of a user's own method or of an installed Dassl, have only the type.
"""

from collections.abc import Mapping
from typing import Any

from dassl import optim
from dassl.data.datasets import DATASET_REGISTRY
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES
from dassl.engine import TRAINER_REGISTRY
from dassl.evaluation import EVALUATOR_REGISTRY
from yacs.config import CfgNode

from softcpt.backbones.config import RESIZE, RESIZES
from softcpt.backbones.precision import PRECISIONS
from softcpt.files.texts import HALVES

from .budget import check_warmup
from .checks import (
    ABOVE_0,
    AT_LEAST_0,
    BELOW_1,
    COUNT,
    LARGE,
    MOST,
    SHARE,
    TEXT,
    Range,
    Rule,
    between,
    check_value,
    each,
    rule_of,
)
from .recipes import RECIPES
from .same_config import plain, registered
from .settings import flatten

NAMES = Range(lambda x: all(isinstance(name, str) for name in x), "a list of names")
SHARES = Range(lambda x: len(x) == 2 and 0 < x[0] <= x[1] <= 1, "two shares of the area: 0 < smallest <= largest <= 1")
PIXELS = each(between(1, 10_000), (0, 2), "a height and a width in pixels, or empty: the model's")
MEANS = each(between(-LARGE, LARGE), (0, 3), "three numbers, or empty: the model's")
DEVIATIONS = each(between(1e-6, LARGE), (0, 3), "three numbers above 0, or empty: the model's")
PERIODS = Range(lambda x: len(x) > 0 and all(-1 <= n <= MOST for n in x), "a list of epochs, each -1 or more")
TENSORS = Range(lambda x: not x, "possible: the methods take tensors, not PIL images; it must be False")
UPRIGHT = Range(lambda x: x is None or type(x) is bool, "legal; one of True, False, or None for what the data set says")

RULES: Mapping[str, Rule] = {
    "OUTPUT_DIR": TEXT,
    "RESUME": TEXT,
    "RECIPE": RECIPES,
    "SEED": between(-1, 2**32 - 1, "-1: random"),
    "INPUT.SIZE": PIXELS,
    "INPUT.INTERPOLATION": ("", *INTERPOLATION_MODES),
    "INPUT.TRANSFORMS": Range(lambda x: set(x) <= set(AVAI_CHOICES), f"a list among {', '.join(AVAI_CHOICES)}"),
    "INPUT.NO_TRANSFORM": TENSORS,
    "INPUT.PIXEL_MEAN": MEANS,
    "INPUT.PIXEL_STD": DEVIATIONS,
    "INPUT.RRCROP_SCALE": SHARES,
    "INPUT.RESIZE": Range(lambda x: not x or bool(RESIZE.fullmatch(x)), f"one of {RESIZES}, or empty: the model's"),
    "INPUT.UPRIGHT": UPRIGHT,
    "DATASET.ROOT": TEXT,
    "DATASET.CSV": TEXT,
    "DATASET.TASKS": Range(lambda x: bool(x.strip()), "all, base, new, or names of tasks"),
    "DATASET.SUBSAMPLE_CLASSES": HALVES,
    "DATASET.SOURCE_DOMAINS": NAMES,
    "DATASET.TARGET_DOMAINS": NAMES,
    "DATALOADER.NUM_WORKERS": between(-1, 256, "-1: one per processor, 8 at most"),
    "DATALOADER.TRAIN_X.SAMPLER": ("RandomSampler", "RandomDomainSampler", "SequentialSampler"),
    "DATALOADER.TRAIN_X.BATCH_SIZE": COUNT,
    "DATALOADER.TRAIN_X.N_DOMAIN": between(-1, MOST, "below 1: all"),
    "DATALOADER.TEST.SAMPLER": ("SequentialSampler",),  # predictions are written in the order of the images
    "DATALOADER.TEST.BATCH_SIZE": COUNT,
    "MODEL.INIT_WEIGHTS": TEXT,
    "MODEL.BACKBONE.NAME": TEXT,
    "MODEL.HEAD.NAME": TEXT,
    "OPTIM.NAME": tuple(getattr(optim, "AVAI_OPTIMS", ("sgd", "adam", "adamw"))),
    "OPTIM.LR": ABOVE_0,
    "OPTIM.WEIGHT_DECAY": AT_LEAST_0,
    "OPTIM.MOMENTUM": BELOW_1,
    "OPTIM.SGD_DAMPNING": between(0, 1),
    "OPTIM.ADAM_BETA1": BELOW_1,
    "OPTIM.ADAM_BETA2": BELOW_1,
    "OPTIM.LR_SCHEDULER": tuple(getattr(optim, "AVAI_SCHEDS", ("single_step", "cosine"))),
    "OPTIM.STEPSIZE": PERIODS,
    "OPTIM.GAMMA": SHARE,
    "OPTIM.MAX_EPOCH": COUNT,
    "OPTIM.MAX_STEPS": between(0, MOST, "0: OPTIM.MAX_EPOCH epochs"),
    "OPTIM.WARMUP_EPOCH": between(-1, MOST, "below 1: no warm-up"),
    "OPTIM.WARMUP_TYPE": ("linear", "constant"),
    "OPTIM.WARMUP_CONS_LR": AT_LEAST_0,
    "OPTIM.WARMUP_MIN_LR": AT_LEAST_0,
    "TRAIN.CHECKPOINT_FREQ": between(-1, MOST, "below 1: the last epoch alone"),
    "TRAIN.PRINT_FREQ": COUNT,
    "TRAIN.KEEP_CHECKPOINTS": between(0, MOST, "0: all of them"),
    "TRAIN.WANDB": TEXT,
    "TEST.SPLIT": ("test", "val"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
    "TRAINER.TEXT_CHUNK": COUNT,
    "TRAINER.LABEL": TEXT,
    "FEATURES.DIR": TEXT,
    "FEATURES.TRAIN_VIEWS": between(0, 1000),
}
# Keys that say how a run is trained, without effect on what it predicts.
TRAINING = ("OPTIM.", "TRAIN.", "DATALOADER.TRAIN_X.", "DATASET.NUM_SHOTS", "INPUT.RRCROP_SCALE", "TEST.FINAL_MODEL")
REGISTRIES = {"DATASET.NAME": DATASET_REGISTRY, "TRAINER.NAME": TRAINER_REGISTRY, "TEST.EVALUATOR": EVALUATOR_REGISTRY}
SHOTS = Range(lambda x: x == -1 or 1 <= x <= MOST, "-1 (all images) or at least 1")
ANY_SHOTS = Range(lambda x: -1 <= x <= MOST, "-1, 0 or more")  # of a method that uses none; the scripts write 0


def check_values(cfg: CfgNode, defaults: Mapping[str, Any], trained: Mapping[str, Any]) -> None:
    """Check the values of all keys that the run's method reads; `defaults` are those before any was set.

    `trained` has the values of a finished run that is only loaded. Of those that say how it was trained, which an older
    version may have taken, the type is checked alone.

    Raises ValueError, with the key, its value and what is legal.
    """
    method = registered(TRAINER_REGISTRY, cfg.TRAINER.NAME)
    rules = {**RULES, **{key: ("", *registry.registered_names()) for key, registry in REGISTRIES.items()}}
    rules["DATASET.NUM_SHOTS"] = SHOTS if getattr(method, "uses_shots", True) else ANY_SHOTS
    for key, value in flatten(cfg).items():
        if key.count(".") < 2 or not key.startswith("TRAINER."):  # else a method's own key
            over = key in trained and key.startswith(TRAINING) and trained[key] == plain(value)
            check_value(key, value, defaults.get(key), None if over else rule_of(key, rules, defaults.get(key)))
    if hasattr(method, "legal"):
        check_method(method, cfg)
        if method.learns_by_gradient and not trained:
            check_optimiser(cfg)


def check_method(method: Any, cfg: CfgNode) -> None:
    """Check the values of a method's own keys. Raises ValueError as above."""
    name = method.__name__.upper()
    defaults, legal = {"PREC": "amp", **method.defaults}, {"PREC": PRECISIONS, **method.legal}
    for key, value in cfg.TRAINER[name].items():
        if not isinstance(value, CfgNode):
            check_value(f"TRAINER.{name}.{key}", value, defaults.get(key), rule_of(key, legal, defaults.get(key)))


def check_optimiser(cfg: CfgNode) -> None:
    """Raise ValueError for values of OPTIM that are legal alone, but not together."""
    options = cfg.OPTIM
    if options.NAME == "sgd" and options.SGD_NESTEROV and (options.SGD_DAMPNING or not options.MOMENTUM):
        raise ValueError("OPTIM.SGD_NESTEROV: True needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0")
    if not options.MAX_STEPS:
        check_warmup(cfg, options.MAX_EPOCH)
