"""`load_clip`: from the name of a backbone to a CLIP, with a copy of its weights that runs share."""

import hashlib
import json
import logging
import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from . import open_clip_models, openai, transformers_models, transformers_tokenizers
from .config import ClipConfig, Text, TransformersText
from .find import Source, find_source
from .model import CLIP, check_finite, store_in_half
from .weights import KEY, first_line, write_safetensors

logger = logging.getLogger(__name__)

SCHEMA = 4  # of the shared copies
SHARED_FROM = 64 << 20  # bytes; smaller files are read in a moment


def load_clip(name: str, half: torch.dtype | None = None, shared: Path | None = None) -> CLIP:
    """A CLIP on the CPU, in evaluation mode, frozen.

    Args:
        name: one of OpenAI's (`openai.FILES`); a file in OpenAI's layout (.pt, .pth, .bin, .npz,
            .safetensors), followed by @quickgelu or @gelu if the file does not declare it; a folder of transformers or
            open_clip, or the weights in it; open_clip:ARCHITECTURE/TAG; open_clip:ARCHITECTURE FILE or
            open_clip:ARCHITECTURE/TAG FILE; OWNER/MODEL or hf-hub:OWNER/MODEL of Hugging Face's hub, from its cache.
            Relative paths are looked up in the current folder, then in the project's. Instead of
            `token_embedding.weight` a state dict may hold some rows `token_rows` (n, D) and their `token_ids` (n,); the
            other rows are then zero.
        half: type of the weights of matrix products and convolutions; None for fp32.
        shared: folder for a copy of a large model's weights, which later runs map into memory instead of reading the
            file again. It may be removed at any time.

    Raises:
        ValueError: an unknown name, a file of another model, an unsupported model, a missing package.
        FileNotFoundError: weights or a tokenizer that are not on this machine.
    """
    with torch.random.fork_rng(devices=[]):
        source = find_source(name)
        copy = None
        if shared is not None and sum(path.stat().st_size for path in source.files) >= SHARED_FROM:
            copy = shared / f"clip-{_key(name, source, half)}.safetensors"
        model = _read_copy(copy) if copy is not None and copy.is_file() else None
        if model is None:
            model = _read(name, source)
            if half is not None:
                model.image_digest = model.stored_digest()
                store_in_half(model, half)
            model.source["sha256"] = source.sha256
            if copy is not None:
                _write_copy(copy, model)
                model = _read_copy(copy) or model
    licence = f", licence {source.licence}" if source.licence else ""
    logger.info("CLIP %s (%s) from %s, SHA-256 %s%s", name, source.family, source.path, model.source["sha256"], licence)
    return model.eval().requires_grad_(False)


def _read(name: str, source: Source) -> CLIP:
    """The model of a source, in fp32."""
    own = None
    if source.family == "open_clip":
        config, state, own = open_clip_models.read(source.name)
    elif source.family == "transformers":
        config, state = transformers_models.read(source.path)
    else:
        config, state = openai.read(source.path, source.spelling, source.sha256 in openai.PUBLISHED)
    model = assemble(config, state, f"{KEY}: {source.path}")
    if config.family == "OpenAI" and isinstance(config.text, Text):
        if config.text.transformer.activation == "quick_gelu":
            # As in the clip package: published weights are in fp16, and it rounds others to fp16.
            store_in_half(model, torch.float16)
        model.float()
    if config.text.pooling == "eos" and not model.tokenizer.eos:
        raise ValueError(f"{KEY}: {name} reads its text features at [EOS], but its tokenizer has none")
    if isinstance(config.text, TransformersText) and not model.tokenizer.eos:
        raise ValueError(f"{KEY}: the texts of {name} end with [EOS] and padding, but its tokenizer has no [EOS]")
    if isinstance(config.text, Text) and (config.text.pooling, config.text.mask) == ("first", "causal"):
        raise ValueError(
            f"{KEY}: {name} reads its text features at the first token, which sees no other in a causal text tower: "
            "they are equal for all texts"
        )
    check_finite(model, f"{KEY}: {source.path}")
    if own is not None:
        check_equal(name, model, own)
    model.source.update(path=str(source.path), licence=source.licence)
    return model


def assemble(config: ClipConfig, state: dict[str, Tensor], where: str = KEY) -> CLIP:
    """A CLIP whose weights are the tensors of `state`, not copies. Raises ValueError, which begins with `where`, if
    they do not fit."""
    model = CLIP(config, where)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{where} holds no CLIP state dict ({first_line(error)})") from error
    return model.eval().requires_grad_(False)


@torch.no_grad()
def check_equal(name: str, model: CLIP, own: nn.Module) -> None:
    """Raise ValueError unless the features of an image and of two sentences equal those of the library's own model."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *model.preprocessing.size, generator=generator)
    try:
        ids = model.tokenizer(["a photo of a dog.", "bark"], model.text.context_length)
        pairs = {
            "image": (model.encode_image(image), own.encode_image(image, normalize=False)),  # a CoCa's are by default
            "text": (model.text(ids, model.tokenizer.eos), own.encode_text(ids, normalize=False)),
        }
    except Exception as error:  # of the tokenizer, or of a library's tower for images or texts of another size
        size = "x".join(map(str, model.preprocessing.size))
        raise ValueError(
            f"{KEY}: {name} encodes no image of {size} pixels, or no sentence ({first_line(error)})"
        ) from error
    for what, (ours, theirs) in pairs.items():
        difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        if not difference < 1e-4:
            raise ValueError(
                f"{KEY}: {name} is not supported: its {what} features differ from those of its own library by "
                f"{difference:.1e} of the largest, so it has parts that this project does not know"
            )


# -- copies that runs share --------------------------------------------------------------------------------------------


def _key(name: str, source: Source, half: torch.dtype | None) -> str:
    beside, folder = [], source.path.parent
    if source.family != "OpenAI":  # configs, and what tells CLIP's tokenizer from others
        there = {*folder.glob("*.json"), *(folder / file for file in transformers_tokenizers.FILES)}
        beside = [path for path in sorted(there) if path.is_file()]
    stats = [(str(path.resolve()), path.stat()) for path in (*source.files, *beside)]
    words = [
        SCHEMA,
        name,
        str(half),
        *((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats),
    ]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]


def _read_copy(path: Path) -> CLIP | None:
    """The model of a copy, its weights mapped from the file; None if the file is damaged."""
    try:
        with safe_open(path, "pt") as file:
            facts = {key: json.loads(value) for key, value in file.metadata().items()}
        model = assemble(ClipConfig.from_dict(facts["config"]), load_file(path))
        model.source.update(facts["source"])
        if _checksum(model) == facts["crc32"]:
            model.image_digest = facts["image_digest"]
            return model
        logger.warning("%s is damaged: the weights are read again", path)
    except (SafetensorError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        logger.warning("%s cannot be used (%s): the weights are read again", path, error)
    return None


def _write_copy(path: Path, model: CLIP) -> None:
    facts = {"config": model.config.to_dict(), "source": model.source, "crc32": _checksum(model)}
    facts["image_digest"] = model.image_digest
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    try:
        write_safetensors(path, state, {key: json.dumps(value) for key, value in facts.items()})
    except (OSError, SafetensorError) as error:
        logger.warning("the weights are not shared: %s cannot be written (%s)", path, error)


def _checksum(model: CLIP) -> int:
    """Of all weights; it finds damage in a fraction of the time of a digest."""
    values = 0
    for _, value in sorted(model.state_dict().items()):
        values = zlib.crc32(memoryview(value.contiguous().flatten().view(torch.uint8).numpy()), values)
    return values
