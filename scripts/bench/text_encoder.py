"""Time the class features of a training step, forward and backward to the contexts: the shared-prefix encoder against
the plain path of 77 tokens per class, which is always in fp32.

    python scripts/bench/text_encoder.py [--cases plant6,general10] [--precs fp32,bf16] [--compiled] [--json]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.bench import harness
from scripts.lib.bench.harness import BENCHMARKS, DEVICE, DTYPES, in_own_process, relative

import torch

from softcpt.backbones.compiled import compile_blocks
from softcpt.prompts.encoder import text_encoder
from softcpt.prompts.learned import PromptTemplate

M = 16  # context tokens


def measure(kind: str, case: str, backbone: str, prec: str, repeats: int, chunk: int) -> dict:
    """Seconds of a forward and a backward pass, and features and gradient for comparison."""
    package, sizes = harness.package_clip(backbone).to(DEVICE), BENCHMARKS[case]
    model = harness.clip_of(package)
    width, layers = model.text.width, len(model.text.blocks)
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(DEVICE)
    torch.manual_seed(0)
    context = (0.02 * torch.randn(len(sizes), M, width)).to(DEVICE).requires_grad_(True)
    template = PromptTemplate(harness.class_names(sum(sizes)), M, model)
    encoder = harness.PlainTextEncoder(package) if kind == "plain" else text_encoder(model.text, chunk)
    if kind == "compiled":
        compile_blocks(model, torch.device(DEVICE))

    def step():
        context.grad = None
        with torch.autocast(DEVICE, DTYPES[prec], enabled=prec != "fp32"):
            out = encoder(*template(context, group), group)
        weight = torch.linspace(-1, 1, out.numel(), device=DEVICE).view_as(out)
        (out.float() * weight).sum().backward()
        return out

    seconds = harness.best_of(step, repeats)
    tokens = len(sizes) * (1 + M) + int(template.lengths.sum())
    # Per token and layer 12 D^2 multiply-adds forward, as many backward to the activations (the weights are frozen).
    needed = 2 * 2 * 12 * layers * width**2 * tokens
    return {
        "seconds": seconds,
        "features": step().detach().float().cpu().numpy(),
        "grad": context.grad.float().cpu().numpy(),
        "gemm_fraction": needed / seconds / harness.matmul_rate(DTYPES[prec], width),
    }


def compare(case: str, prec: str, args, plain: dict | None) -> dict:
    """One row of the table."""

    def run(kind: str) -> dict:
        common = case, args.backbone, prec, args.repeats, args.chunk
        return in_own_process(measure, kind, *common, threads=args.threads)

    ours, compiled = run("shared"), run("compiled")["seconds"] if args.compiled else None
    return {
        "case": case,
        "classes": sum(BENCHMARKS[case]),
        "tasks": len(BENCHMARKS[case]),
        "backbone": args.backbone,
        "prec": prec,
        **harness.versus(plain, ours),
        "gemm_fraction": ours["gemm_fraction"],
        "max_rel_diff": plain and relative(ours["features"], plain["features"]),
        "grad_rel_diff": plain and relative(ours["grad"], plain["grad"]),
        "compiled_seconds": compiled,
        "compiled_ratio": compiled and ours["seconds"] / compiled,
    }


def rows_of(args):
    for case in args.cases.split(","):
        plain = None
        if sum(BENCHMARKS[case]) <= args.plain_limit:
            repeats = max(1, args.repeats // 2)
            plain = in_own_process(measure, "plain", case, args.backbone, "fp32", repeats, 0, threads=args.threads)
        for prec in args.precs.split(","):
            yield compare(case, prec, args, plain)


if __name__ == "__main__":
    own = ("--cases", "plant6,general10,rs8,fashion20"), ("--precs", "fp32,bf16")
    chunk = "--chunk", 2048, "TRAINER.TEXT_CHUNK"
    limit = "--plain-limit", 400, "number of classes above which the plain path does not fit in memory"
    compiled = "--compiled", False, "time it with TRAIN.COMPILE, too"
    harness.main(__doc__, rows_of, *own, chunk, limit, compiled)
