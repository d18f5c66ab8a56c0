"""LoRA adapters of PEFT beside a model of transformers: `from_pretrained` applies them, so their product is added to
the weights that they adapt."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .weights import read_json, read_state_dict

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PREFIX = "base_model.model."
POOL = ".head.attention."  # of SigLIP's image tower
# Keys of adapter_config.json that are used here, and those that change no feature.
USED = (
    "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "modules_to_save",
    "bias",
)  # fmt: skip
HARMLESS = (
    "auto_mapping", "base_model_name_or_path", "fan_in_fan_out", "inference_mode", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size", "revision", "task_type",
)  # fmt: skip
# Ways to draw the first weights; others change the base model, too.
DRAWN = (True, False, None, "gaussian", "orthogonal")


def files_of(folder: Path) -> list[Path]:
    """The files of an adapter in a folder; none without one."""
    return [folder / name for name in (CONFIG, *WEIGHTS) if (folder / name).is_file()] if has_one(folder) else []


def has_one(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def only_an_adapter(folder: Path) -> str:
    """What a folder with an adapter and without its base model lacks."""
    base = read_json(folder / CONFIG).get("base_model_name_or_path")
    return (
        f"the folder {folder} holds only an adapter ({CONFIG}) of the model {base!r:.100}. Put {CONFIG} and "
        f"{WEIGHTS[0]} into a folder that has all files of that model, and name that folder"
    )


def merged(folder: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights with the folder's adapter, if it has one. Raises ValueError for one that cannot be merged."""
    if not has_one(folder):
        return state
    path = next((path for path in files_of(folder) if path.name in WEIGHTS), None)
    if path is None:
        raise ValueError(f"{CONFIG} is there, but none of {', '.join(WEIGHTS)}")
    options = read_json(folder / CONFIG)
    try:
        check_options(options)
        tensors = {key.removeprefix(PREFIX): value for key, value in read_state_dict(path).items()}
        return with_products(with_whole(state, tensors, options), tensors, options)
    except ValueError as error:
        raise ValueError(f"its adapter {path.name} cannot be applied: {error}") from error


def check_options(options: Mapping[str, Any]) -> None:
    if options.get("peft_type") != "LORA":
        raise ValueError(f"{CONFIG}: peft_type is {options.get('peft_type')!r:.60}; only LORA is supported")
    if options.get("bias", "none") != "none":
        raise ValueError(f"{CONFIG}: bias is {options['bias']!r:.60}; only none is supported")
    if options.get("init_lora_weights") not in DRAWN:
        raise ValueError(f"{CONFIG}: init_lora_weights {options['init_lora_weights']!r:.60} may change the base model")
    known = (*USED, *HARMLESS, "init_lora_weights")
    for key, value in options.items():
        if key not in known and value not in (None, False, [], {}, ""):
            raise ValueError(f"{CONFIG}: {key} is {value!r:.60}, which is not supported")


def with_products(
    state: dict[str, Tensor], tensors: Mapping[str, Tensor], options: Mapping[str, Any]
) -> dict[str, Tensor]:
    """W + scale B A for each adapted W (out, in), with B (out, r) and A (r, in) (Hu et al., LoRA, arXiv 2106.09685)."""
    for name in [key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")]:
        a, b = tensors[f"{name}.lora_A.weight"], tensors.get(f"{name}.lora_B.weight")
        weight = state.get(f"{name}.weight")
        if weight is None or not is_target(name, options.get("target_modules")):
            raise ValueError(f"{name:.100} is no module of the model that target_modules names")
        if POOL in name:
            raise ValueError(f"{name:.100} is a part of PyTorch's attention, in which PEFT's adapters have no effect")
        shapes = [tuple(x.shape) if x is not None else () for x in (weight, b, a)]
        if a.dim() != 2 or b is None or b.dim() != 2 or shapes[0] != (len(b), a.shape[1]) or len(a) != b.shape[1]:
            raise ValueError(f"{name:.100} is no linear map with its two factors: {', '.join(map(str, shapes))}")
        product = scale_of(name, len(a), options) * (b.float() @ a.float())
        state[f"{name}.weight"] = weight.float() + product
    return state


def with_whole(
    state: dict[str, Tensor], tensors: Mapping[str, Tensor], options: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The weights with those that the adapter holds as a whole (modules_to_save) in their place."""
    whole = options.get("modules_to_save") or []
    state = dict(state)
    for key, value in tensors.items():
        name = key.rpartition(".")[0]
        if key.endswith((".lora_A.weight", ".lora_B.weight")):
            continue
        if not isinstance(whole, list) or not is_named(name, whole) or key not in state:
            raise ValueError(f"it holds {key:.100}, which is not of a linear map")
        if value.shape != state[key].shape:
            raise ValueError(f"its {key:.100} is {tuple(value.shape)}, the model's {tuple(state[key].shape)}")
        state[key] = value
    return state


def scale_of(name: str, rank: int, options: Mapping[str, Any]) -> float:
    """alpha / r, or with `use_rslora` alpha / sqrt(r), of a module. Raises ValueError for another rank than r."""
    expected = of_module(name, options.get("rank_pattern"), options.get("r"))
    alpha = of_module(name, options.get("alpha_pattern"), options.get("lora_alpha"))
    if rank != expected:
        raise ValueError(f"{name:.100} has the rank {rank}, but r is {expected!r:.60}")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < 1e6:
        raise ValueError(f"{CONFIG}: lora_alpha is {alpha!r:.60}, not a number")
    return alpha / rank**0.5 if options.get("use_rslora") else alpha / rank


def of_module(name: str, patterns: Any, default: Any) -> Any:
    """The value of the first pattern that is a module's name or the end of it, else the default."""
    patterns = {} if patterns is None else patterns
    if not isinstance(patterns, dict) or not all(re.fullmatch(r"[\w.]+", key) for key in patterns):
        raise ValueError(f"{CONFIG}: {patterns!r:.80}: only names of modules are supported as patterns")
    return next((value for key, value in patterns.items() if is_named(name, [key])), default)


def is_target(name: str, targets: Any) -> bool:
    """Whether `target_modules` names a module. An expression there has chosen those that the file holds."""
    return isinstance(targets, str) or isinstance(targets, list) and is_named(name, targets)


def is_named(name: str, ends: list[Any]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)
