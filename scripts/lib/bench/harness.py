"""Shared by the benchmarks: models and class names of realistic sizes, the plain path, timing, memory, output.

The plain path is that of public code: 77 tokens for every class, through the modules of the `clip` package.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import compat.provide  # noqa: F401  before dassl

import torch
from clip import clip
from clip.model import CLIP as PackageCLIP
from torch import Tensor

from softcpt.backbones import CLIP, openai
from softcpt.backbones.load import assemble
from softcpt.backbones.model import store_in_half
from trainers.engine.memory import peak_memory_bytes

ROOT = Path(__file__).resolve().parents[3]
# Classes of each task, as in the paper's benchmarks. RS-8: the data sets chosen in docs/datasets.md; Fashion-20: the
# mean of 78 classes in 20 tasks.
BENCHMARKS = {
    "plant6": (36, 5, 9, 15, 12, 39),
    "general10": (100, 47, 10, 100, 101, 102, 37, 196, 397, 101),
    "rs8": (30, 45, 21, 19, 7, 31, 45, 10),
    "fashion20": (4,) * 18 + (3, 3),
    "classes100": (100,),
    "toy": (3, 2),
}
TEXT = dict(context_length=77, vocab_size=49408, transformer_width=512, transformer_heads=8, transformer_layers=12)
VIT_B = dict(TEXT, embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768)
BACKBONES = {
    "ViT-B/32": dict(VIT_B, vision_patch_size=32),
    "ViT-B/16": dict(VIT_B, vision_patch_size=16),
    "ViT-L/14": dict(
        TEXT, transformer_width=768, transformer_heads=12, embed_dim=768, image_resolution=224, vision_layers=24,
        vision_width=1024, vision_patch_size=14,
    ),
    "RN50": dict(
        TEXT, embed_dim=1024, image_resolution=224, vision_layers=(3, 4, 6, 3), vision_width=64, vision_patch_size=None
    ),
    "toy": dict(
        TEXT, transformer_width=64, transformer_heads=1, transformer_layers=2, embed_dim=64, image_resolution=32,
        vision_layers=1, vision_width=64, vision_patch_size=16,
    ),
}  # fmt: skip
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def package_clip(backbone: str) -> PackageCLIP:
    """The `clip` package's model of a backbone, with random weights, frozen."""
    torch.manual_seed(0)
    return PackageCLIP(**BACKBONES[backbone]).eval().requires_grad_(False)


def clip_of(package: PackageCLIP, half: torch.dtype | None = None) -> CLIP:
    """This project's model with the weights of the package's, shared unless they are stored in half precision."""
    state = package.state_dict()
    model = assemble(openai.config_of(state, "quick_gelu"), openai.renamed(state))
    if half is not None:
        store_in_half(model, half)
    return model


def class_names(count: int, seed: int = 0) -> list[str]:
    """Names of one to six words of CLIP's vocabulary, on average 2.9 tokens."""
    rng = random.Random(seed)
    words = sorted(word[:-4] for word in clip._tokenizer.encoder if word.endswith("</w>") and word[:-4].isalpha())
    words = [word for word in words if 3 <= len(word) <= 9 and word.isascii()]
    lengths = rng.choices([1, 2, 3, 4, 5, 6], weights=[20, 28, 22, 14, 9, 7], k=count)
    return [" ".join(rng.sample(words, length)) for length in lengths]


class PlainTextEncoder:
    """The plain path with the interface of our text encoder. The tower is causal, so padding does not matter."""

    def __init__(self, package: PackageCLIP) -> None:
        self.package = package

    def __call__(self, prefix: Tensor, suffix: Tensor, lengths: Tensor, group: Tensor, tuning: object = None) -> Tensor:
        package, n_prefix = self.package, prefix.shape[1]
        padding = suffix.new_zeros(len(suffix), package.context_length - n_prefix - suffix.shape[1], suffix.shape[2])
        x = torch.cat([prefix[group], suffix, padding], dim=1) + package.positional_embedding  # (R, 77, D)
        x = package.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
        end = n_prefix + lengths - 1
        return package.ln_final(x)[torch.arange(len(x), device=x.device), end] @ package.text_projection


def best_of(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest call after a first one. (torch.utils.benchmark would add two warm-ups to each.)"""
    run()
    return min(seconds_of(run) for _ in range(repeats))


def seconds_of(run: Callable[[], object]) -> float:
    synchronise()
    start = time.perf_counter()
    run()
    synchronise()
    return time.perf_counter() - start


def synchronise() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def in_own_process(function: Callable, *args: object, threads: int = 0) -> dict:
    """Run `function(*args)` in a process of its own, and add the peak memory of that process as `peak_bytes`."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, args, threads))


def _measured(function: Callable, args: tuple, threads: int) -> dict:
    if threads:
        torch.set_num_threads(threads)
    result = function(*args)
    return {**result, "peak_bytes": peak_memory_bytes(torch.device(DEVICE))}


def matmul_rate(dtype: torch.dtype, width: int = 512) -> float:
    """Floating-point operations per second of a matrix product (4096 x width) @ (width x 4 width)."""
    a = torch.randn(4096, width, device=DEVICE, dtype=dtype)
    b = torch.randn(width, 4 * width, device=DEVICE, dtype=dtype)
    return 2 * 4096 * width * 4 * width / best_of(lambda: a @ b, 10)


def relative(value, expected) -> float:
    """The largest difference of two arrays, relative to the largest expected entry."""
    return float(abs(value - expected).max() / abs(expected).max())


def versus(plain: dict | None, ours: dict) -> dict:
    """Columns that compare two measurements. `plain` is None if the plain path was not measured."""
    return {
        "plain_seconds": plain and plain["seconds"],
        "seconds": ours["seconds"],
        "ratio": plain and plain["seconds"] / ours["seconds"],
        "plain_peak_bytes": plain and plain["peak_bytes"],
        "peak_bytes": ours["peak_bytes"],
    }


def main(description: str, rows_of: Callable[[argparse.Namespace], Iterable[dict]], *options: tuple) -> None:
    """Print the rows of a benchmark as a table, or as one JSON object per line.

    Args:
        rows_of: a function of the parsed options.
        options: those of this benchmark, beside the ones of all: (flag, default) or (flag, default, help).
    """
    args = parser(description, *options).parse_args()
    rows = list(rows_of(args))
    if args.json:
        print(*map(json.dumps, rows), sep="\n", flush=True)
        return
    import pandas as pd

    device = torch.cuda.get_device_name() if DEVICE == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"PyTorch {torch.__version__}, {device}")
    table = pd.DataFrame(rows)
    if args.markdown:
        print(f"\n{table.dropna(axis=1, how='all').to_markdown(index=False, floatfmt='.4g')}")
    else:
        print(table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))


def parser(description: str, *options: tuple) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    forms = result.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print one JSON object per line instead of a table")
    forms.add_argument("--markdown", action="store_true", help="print the table as Markdown, without empty columns")
    result.add_argument("--threads", type=int, default=0, help="threads (default: PyTorch's)")
    result.add_argument(
        "--repeats", type=int, default=5, help="number of calls, of which the fastest counts (%(default)s)"
    )
    result.add_argument("--backbone", default="ViT-B/32", choices=BACKBONES)
    for flag, default, *text in options:
        choices = BENCHMARKS if flag == "--case" else None
        about = f"{text[0]} (%(default)s)" if text else "default: %(default)s"
        if default is False:
            result.add_argument(flag, action="store_true", help=text[0])
            continue
        result.add_argument(flag, default=default, type=type(default), choices=choices, help=about)
    return result
