"""transformers' CLIPModel, MetaClip2Model and SiglipModel, read from their files. The package itself is only needed for
a tokenizer that is not CLIP's."""

from pathlib import Path

from torch import Tensor

from . import adapters, transformers_clips
from .config import ClipConfig
from .transformers_configs import towers, why_not
from .transformers_images import preprocessing_of
from .transformers_tokenizers import tokenizer_of
from .transformers_weights import renamed
from .weight_files import INDEX
from .weights import KEY, read_json, read_state_dict, weights_in

CONFIG = "config.json"
WEIGHTS = tuple(f"{name}{part}" for name in ("model.safetensors", "pytorch_model.bin") for part in ("", INDEX))


def is_model(path: Path) -> bool:
    """Whether a folder, or the folder of a file of weights, has the config of a transformers model, or an adapter."""
    folder = path if path.is_dir() else path.parent
    return (path.is_dir() or path.name in WEIGHTS) and (folder / CONFIG).is_file() or adapters.has_one(path)


def weights_of(path: Path) -> Path:
    """The file of the weights. Raises FileNotFoundError."""
    if path.is_dir() and adapters.has_one(path) and not any((path / name).is_file() for name in WEIGHTS):
        raise FileNotFoundError(f"{KEY}: {adapters.only_an_adapter(path)}")
    return path if path.is_file() else weights_in(path, WEIGHTS)


def read(path: Path) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Config and weights of a folder, or of the weights in it. Raises ValueError for another kind of model."""
    weights = weights_of(path)
    folder = weights.parent
    options = read_json(folder / CONFIG)
    kind = options.get("model_type")
    if isinstance(kind, str) and kind in transformers_clips.KINDS:
        return transformers_clips.read(weights, options)
    reason = why_not(kind, transformers_clips.KINDS)
    if reason:
        raise ValueError(f"{KEY}: {folder / CONFIG} {reason}")
    try:
        image_config, text_config, pooled = towers(kind, options)
        state = renamed(adapters.merged(folder, read_state_dict(weights)))
    except Exception as error:  # of PyTorch's and safetensors' readers, and of values of other types
        raise ValueError(f"{KEY}: {weights} holds no {kind} model of transformers ({error})") from error
    preprocessing = preprocessing_of(folder, image_config.image_size, kind)
    tokenizer = tokenizer_of(folder, text_config, pooled)
    config = ClipConfig("transformers", image_config, text_config, preprocessing, tokenizer, bias="logit_bias" in state)
    return config, state
