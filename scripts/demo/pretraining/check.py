"""Judge the drawn benchmark and its tiny CLIP: zero-shot and linear probes per task, similarity of task names.

    python scripts/demo/pretraining/check.py [--data data] [--clip scripts/demo/tiny_clip.npz]

README.md has the figures to expect.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import compat.provide  # noqa: F401  before dassl

import numpy as np
import torch
import torch.nn.functional as F
from clip import clip
from clip.model import CLIP
from dassl.data.datasets import DATASET_REGISTRY
from sklearn.linear_model import LogisticRegression

import datasets.demo as demo
from scripts.demo.pretraining.towers import load
from softcpt.backbones.config import OPENAI_MEAN, OPENAI_STD
from softcpt.images.read import read_image

SHOTS, SEEDS = (1, 4, 16), (1, 2, 3)


def tokens(texts: list[str], known: set[int]) -> torch.Tensor:
    """CLIP's tokens (n, 77). Raises KeyError for one that is not among the `known`."""
    ids = clip.tokenize(texts)
    unknown = sorted(set(ids[ids > 0].tolist()) - known)
    if unknown:
        raise KeyError(f"the checkpoint does not know the tokens {clip._tokenizer.decode(unknown)!r}")
    return ids


@torch.no_grad()
def task_features(model: CLIP, names: list[str], known: set[int]) -> torch.Tensor:
    """Normalised features (T, E) of "[X] [X] [X] [X] name .", where [X] are random vectors, as in a new prompt."""
    ids = tokens([f"x x x x {name} ." for name in names], known)
    x = model.token_embedding(ids)
    x[:, 1:5] = torch.randn(4, x.shape[-1], generator=torch.Generator().manual_seed(0)) * 0.02
    x = model.transformer((x + model.positional_embedding).permute(1, 0, 2)).permute(1, 0, 2)
    x = model.ln_final(x)[torch.arange(len(ids)), ids.argmax(-1)] @ model.text_projection
    return F.normalize(x, dim=-1)


@torch.no_grad()
def image_features(model: CLIP, folder: Path, items: list) -> tuple[np.ndarray, np.ndarray]:
    """Normalised features (n, E) and labels (n,) of a split file's items."""
    pictures = np.stack([np.asarray(read_image(folder / path, upright=False)) for path, _, _ in items])
    x = torch.from_numpy((pictures / 255.0 - OPENAI_MEAN) / OPENAI_STD).float().permute(0, 3, 1, 2)
    features = torch.cat([model.encode_image(part) for part in x.split(256)])
    return F.normalize(features, dim=-1).numpy(), np.array([label for _, label, _ in items])


def probe(train: tuple, test: tuple, shots: int, seed: int) -> float:
    """Test accuracy in percent of a logistic regression on `shots` random training images per class."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(train[1] == c))[:shots] for c in np.unique(train[1])])
    model = LogisticRegression(C=1.0, max_iter=1000).fit(train[0][chosen] * 5, train[1][chosen])
    return 100 * model.score(test[0] * 5, test[1])


def check(data: Path, checkpoint: Path) -> dict[str, list[float]]:
    """Print the table. Returns {task: [chance, zero-shot, probe at 1, 4 and 16 shots]} in percent."""
    model, known = load(checkpoint)
    rows, classes = {}, [DATASET_REGISTRY.get(spec.dataset) for spec in demo.Demo.specs]
    print(f"{'task':32s} chance  zero  " + "  ".join(f"{k:>4d}-shot" for k in SHOTS))
    for cls in classes:
        folder = data / cls.dataset_dir
        split = json.loads((folder / f"split_zhou_{cls.__name__}.json").read_text())
        train, test = (image_features(model, folder / "images", split[part]) for part in ("train", "test"))
        names = list(dict.fromkeys(name for _, _, name in sorted(split["train"], key=lambda item: item[1])))
        text = model.encode_text(tokens([cls.template.format(name) for name in names], known))
        zero = 100 * np.mean((test[0] @ F.normalize(text, dim=-1).numpy().T).argmax(1) == test[1])
        probes = [float(np.mean([probe(train, test, k, seed) for seed in SEEDS])) for k in SHOTS]
        rows[cls.task_name] = [100 / len(names), float(zero), *probes]
        print(f"{cls.task_name:32s} {100 / len(names):6.1f} {zero:5.1f}  " + "  ".join(f"{p:9.1f}" for p in probes))
    mean = np.mean(list(rows.values()), 0)
    print(f"{'mean':32s} {mean[0]:6.1f} {mean[1]:5.1f}  " + "  ".join(f"{p:9.1f}" for p in mean[2:]))
    features = task_features(model, [cls.task_name for cls in classes], known)
    cosines = (features @ features.T).numpy()
    print("cosines between task names:", cosines.round(2), sep="\n")
    print(f"mean off the diagonal: {(cosines.sum() - len(cosines)) / (len(cosines) * (len(cosines) - 1)):.2f}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--clip", type=Path, default=Path(__file__).parents[1] / "tiny_clip.npz")
    args = parser.parse_args()
    check(args.data, args.clip)
