"""What the benchmarks share: models and class names of the true sizes, timing, peak memory, and printing."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import compat  # noqa: E402

compat.ensure_dassl()

import torch  # noqa: E402
from clip import clip  # noqa: E402
from clip.model import CLIP  # noqa: E402

# Classes of each task, as in the paper's benchmarks (RS-8 as docs/datasets.md chooses its sets).
BENCHMARKS = {
    "plant6": (36, 5, 9, 15, 12, 39),
    "general10": (100, 47, 10, 100, 101, 102, 37, 196, 397, 101),
    "rs8": (30, 45, 21, 19, 7, 31, 45, 10),
    "fashion20": (4,) * 18 + (3, 3),
}
BACKBONES = {
    "ViT-B/32": dict(embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768, vision_patch_size=32),
    "ViT-B/16": dict(embed_dim=512, image_resolution=224, vision_layers=12, vision_width=768, vision_patch_size=16),
    "RN50": dict(
        embed_dim=1024, image_resolution=224, vision_layers=(3, 4, 6, 3), vision_width=64, vision_patch_size=None
    ),
}


def random_clip(backbone: str) -> CLIP:
    """A CLIP of the true size with random weights, frozen."""
    torch.manual_seed(0)
    text = dict(context_length=77, vocab_size=49408, transformer_width=512, transformer_heads=8, transformer_layers=12)
    return CLIP(**BACKBONES[backbone], **text).eval().requires_grad_(False)


def class_names(count: int, seed: int = 0) -> list[str]:
    """Names of one to four words of CLIP's vocabulary, 2.9 tokens in the mean."""
    rng = random.Random(seed)
    words = sorted(word[:-4] for word in clip._tokenizer.encoder if word.endswith("</w>") and word[:-4].isalpha())
    words = [word for word in words if 3 <= len(word) <= 9 and word.isascii()]
    lengths = rng.choices([1, 2, 3, 4, 5, 6], weights=[20, 28, 22, 14, 9, 7], k=count)
    return [" ".join(rng.sample(words, length)) for length in lengths]


def best_of(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some calls, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def in_own_process(function: Callable, *args: object) -> dict:
    """What `function(*args)` returns, run in a process of its own, with its peak memory as `peak_bytes`."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measured, (function, *args))


def _measured(function: Callable, *args: object) -> dict:
    result = function(*args)
    if torch.cuda.is_available():
        return {**result, "peak_bytes": torch.cuda.max_memory_allocated()}
    unit = 1 if sys.platform == "darwin" else 1024
    return {**result, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}


def matmul_rate(dtype: torch.dtype, device: str) -> float:
    """Floating-point operations a second of the machine's matrix product (4096 x 512) @ (512 x 2048)."""
    a, b = torch.randn(4096, 512, device=device, dtype=dtype), torch.randn(512, 2048, device=device, dtype=dtype)
    return 2 * 4096 * 512 * 2048 / best_of(lambda: a @ b, 10)


def parser(description: str) -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")
    result.add_argument("--threads", type=int, default=0, help="threads (default: PyTorch's)")
    return result


def machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return f"PyTorch {torch.__version__}, {device}"


def show(rows: list[dict], as_json: bool) -> None:
    """Print rows as a table, or as one JSON object a line."""
    if as_json:
        for row in rows:
            print(json.dumps(row), flush=True)
        return
    import pandas as pd

    print(machine())
    print(pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4g}"))
