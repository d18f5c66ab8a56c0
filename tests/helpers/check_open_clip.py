"""Compare every architecture of the installed open_clip with what this project makes of it.

    python tests/helpers/check_open_clip.py                    all of them, as a table in Markdown
    python tests/helpers/check_open_clip.py 'ViT-*' RN50       some of them

Each is built by the library with random weights and few layers, once for each preprocessing and activation that its
tags state; its widths and image sizes are the real ones. Tokenizers and text configs that the library takes from
Hugging Face's hub are tiny ones of the same kind. A number is the largest difference, as a share of the largest value:
of the features of sentences (`text`), of learned prompts that start as the words of these sentences (`prompts`), of the
features of an image, and of its pixels. `tokens` counts the sentences whose tokens are equal, of those that fit into
the context, `deep` says whether the image tower takes prompts and low-rank updates in its layers. No network is needed.
The exit status is 1 if an architecture is wrong.
"""

import argparse
import fnmatch
import logging
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_CACHE"] = tempfile.mkdtemp(prefix="open_clip-")  # before the libraries read it
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

import compat.provide  # noqa: F401  before dassl

import numpy as np
import open_clip
import timm
import torch
import transformers
from PIL import Image
from reduced_models import Cache, random_model, reduced, shallow_timm
from safetensors.torch import save_file
from tabulate import tabulate
from torch import Tensor, nn

from softcpt.backbones import CLIP, load_clip, open_clip_files
from softcpt.prompts.encoder import text_encoder
from softcpt.prompts.learned import Context, PromptTemplate
from trainers.engine.config import default_cfg
from trainers.engine.preprocessing import filled, test_transform

COLUMNS = ("text", "prompts", "image", "pixels")
MOST = {"text": 1e-4, "prompts": 1e-4, "image": 1e-4, "pixels": 1e-6}
WORDS = "a photo of a"
NAMES = ("rose", "banded", "criss-crossed", "707-320", "Forest, a cat", "the_type (dog)", "a")


def compare(architecture: str, folder: Path) -> dict[str, float | str]:
    """The largest differences over all kinds of an architecture's weights; under "loads" the reason if refused."""
    shared: dict[str, float | str] = {}
    for tag in kinds(architecture):
        facts = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
        own = random_model(architecture, facts)
        path = folder / "weights.safetensors"
        save_file({key: value.contiguous().clone() for key, value in own.state_dict().items()}, path)
        try:
            model = load_clip(f"open_clip:{architecture}/{tag} {path}" if tag else f"open_clip:{architecture} {path}")
        except (ValueError, OSError) as error:
            return {"loads": str(error).replace(str(path), "FILE").split(" is not supported: ")[-1]}
        for key, value in differences(model, own, architecture).items():
            shared[key] = max(value, shared.get(key, value))
    return shared


def kinds(architecture: str) -> list[str]:
    """A tag for each preprocessing and activation of an architecture; "" for one without tags."""
    found = {}
    for tag in open_clip.list_pretrained_tags_by_model(architecture):
        facts = open_clip.get_pretrained_cfg(architecture, tag)
        found.setdefault(tuple(str(facts.get(key)) for key in open_clip_files.FACTS), tag)
    return list(found.values()) or [""]


@torch.no_grad()
def differences(model: CLIP, own: nn.Module, architecture: str) -> dict[str, float | str]:
    """Our model against the library's."""
    names = [name for name in NAMES if len(model.tokenizer.encode(sentence(name))) + 2 <= model.text.context_length]
    sentences = [sentence(name) for name in names]
    ids = open_clip.get_tokenizer(architecture)(sentences)
    equal = (model.tokenizer(sentences, model.text.context_length) == ids).all(1).sum().item()
    expected = own.encode_text(ids, normalize=False)  # CoCa normalises by default
    context = Context(1, model, words=WORDS)
    prompts = PromptTemplate(names, context.n_context, model, words=WORDS)
    group = torch.zeros(len(names), dtype=torch.long)
    learned = text_encoder(model.text, 2048)(*prompts(context(), group), group)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 217, 3), dtype=np.uint8))
    cfg = default_cfg()
    cfg.INPUT.TRANSFORMS = ("normalize",)
    pixels = test_transform(filled(cfg, model.preprocessing))(picture)
    transforms = open_clip.transform
    steps = transforms.PreprocessCfg(**open_clip.get_model_preprocess_cfg(own))
    wanted = transforms.image_transform_v2(steps, is_train=False)(picture)
    image = wanted.unsqueeze(0)
    return {
        "text": share(model.encode_text(sentences), expected),
        "prompts": share(learned, expected),
        "image": share(model.encode_image(image), own.encode_image(image, normalize=False)),
        "pixels": share(pixels, wanted),
        "tokens": f"{equal} of {len(sentences)}",
        "deep": "no" if model.visual.not_tunable else "yes",
    }


def sentence(name: str) -> str:
    return f"{WORDS} {name.replace('_', ' ')}."


def share(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference as a share of the largest value; infinite for other shapes."""
    if ours.shape != theirs.shape:
        return float("inf")
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def is_right(found: dict[str, float | str]) -> bool:
    equal = str(found.get("tokens", "0 of 0")).split(" of ")
    return "loads" in found or all(found[key] <= MOST[key] for key in COLUMNS) and equal[0] == equal[1] != "0"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["*"], metavar="NAME", help="names or patterns (all)")
    return parser.parse_args(argv)


@one_line_errors(1)
def main(argv: list[str] | None = None) -> int:
    args, rows, started = parse_args(argv), [], time.monotonic()
    names = [name for name in open_clip.list_models() if any(fnmatch.fnmatch(name, part) for part in args.names)]
    if not names:
        raise ValueError(f"open_clip {open_clip.__version__} has no architecture {', '.join(args.names)}")
    wrong = 0
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns that its models have random weights
    torch.manual_seed(0)
    shallow_timm()
    folder = Path(os.environ["HF_HUB_CACHE"])
    cache = Cache(folder)
    try:
        for name in names:
            cfg = reduced(name)
            cache.put(cfg["text_cfg"])
            open_clip.factory._MODEL_CONFIGS[name] = cfg
            found = compare(name, folder)
            wrong += not is_right(found)
            verdict = "no" if "loads" in found else "yes" if is_right(found) else "WRONG"
            numbers = [f"{found[key]:.0e}" if key in found else "" for key in COLUMNS]
            rows.append((name, verdict, *numbers, *(found.get(key, "") for key in ("tokens", "deep", "loads"))))
            print(f"{name}: {verdict} {found.get('loads', '')}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder)
    print(tabulate(rows, ("architecture", "loads", *COLUMNS, "tokens", "deep", "why not"), tablefmt="github"))
    versions = (("open_clip", open_clip), ("timm", timm), ("transformers", transformers), ("PyTorch", torch))
    print(
        f"\n{len(names)} architectures, {sum(row[1] == 'no' for row in rows)} refused, {wrong} wrong; "
        + ", ".join(f"{title} {module.__version__}" for title, module in versions)
        + f"; {time.monotonic() - started:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
