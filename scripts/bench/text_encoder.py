"""Class features of one training step, forward and backward to the contexts: the shared-prefix encoder against the
plain path of 77 tokens per class.

    python scripts/bench/text_encoder.py [--cases plant6,general10] [--precs fp32,bf16] [--json]
"""

from __future__ import annotations

import os

import _common
import torch
from _common import BENCHMARKS, best_of, class_names, in_own_process, matmul_rate, random_clip, show

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
M = 16


def setup(case: str, backbone: str):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = random_clip(backbone).to(device)
    sizes = BENCHMARKS[case]
    names = class_names(sum(sizes))
    group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(device)
    torch.manual_seed(0)
    context = (0.02 * torch.randn(len(sizes), M, 512)).to(device).requires_grad_(True)
    return model, names, group, context


def measure(kind: str, case: str, backbone: str, prec: str, repeats: int, threads: int) -> dict:
    """Seconds of one forward and backward pass; features and gradient for comparison."""
    if threads:
        torch.set_num_threads(threads)
    model, names, group, context = setup(case, backbone)
    device = context.device.type
    if kind == "plain":
        import plain

        rows = [plain.prompt(model, name, torch.zeros(M, 512, device=device), "end") for name in names]
        embedded, eos = torch.stack([row for row, _ in rows]), torch.tensor([end for _, end in rows])

        def features():
            prompts = torch.cat([embedded[:, :1], context[group], embedded[:, 1 + M :]], dim=1)
            return plain.encode(model, prompts, eos)

        tokens = embedded.shape[0] * embedded.shape[1]
    else:
        from trainers.modules.prompts import PromptTemplate
        from trainers.modules.text_encoder import TextEncoder

        template, encoder = PromptTemplate(names, M, model), TextEncoder(model, int(os.environ.get("TEXT_CHUNK", 2048)))

        def features():
            return encoder(*template(context, group), group)

        tokens = len(context) * (1 + M) + int(template.lengths.sum())

    def step():
        context.grad = None
        with torch.autocast(device, DTYPES[prec], enabled=prec != "fp32"):
            out = features()
        weight = torch.linspace(-1, 1, out.numel(), device=device).view_as(out)
        (out.float() * weight).sum().backward()
        return out

    seconds = best_of(step, repeats)
    out = step().detach().float().cpu()
    rate = matmul_rate(DTYPES[prec], device)
    # Per token and layer 12 D^2 multiply-adds forward, as many backward to the activations (the weights are frozen).
    needed = 2 * 2 * 12 * 12 * 512**2 * tokens
    return {
        "seconds": seconds,
        "features": out.numpy(),
        "grad": context.grad.float().cpu().numpy(),
        "gemm_fraction": needed / seconds / rate,
    }


def compare(case: str, backbone: str, prec: str, repeats: int, threads: int, plain_limit: int) -> dict:
    """One row of the table; the plain path is left out where it would need more than `plain_limit` classes."""
    sizes = BENCHMARKS[case]
    ours = in_own_process(measure, "shared", case, backbone, prec, repeats, threads)
    plain = None
    if sum(sizes) <= plain_limit:
        plain = in_own_process(measure, "plain", case, backbone, "fp32", max(1, repeats // 3), threads)
    row = {
        "case": case,
        "classes": sum(sizes),
        "tasks": len(sizes),
        "backbone": backbone,
        "prec": prec,
        "plain_seconds": plain and plain["seconds"],
        "seconds": ours["seconds"],
        "ratio": plain and plain["seconds"] / ours["seconds"],
        "plain_peak_bytes": plain and plain["peak_bytes"],
        "peak_bytes": ours["peak_bytes"],
        "gemm_fraction": ours["gemm_fraction"],
        "max_rel_diff": plain and relative(ours["features"], plain["features"]),
        "grad_rel_diff": plain and relative(ours["grad"], plain["grad"]),
    }
    return row


def relative(value, expected) -> float:
    return float(abs(value - expected).max() / abs(expected).max())


def main() -> None:
    parser = _common.parser(__doc__)
    parser.add_argument("--cases", default="plant6,general10,rs8,fashion20")
    parser.add_argument("--precs", default="fp32,bf16", help="ours; the plain path is always fp32")
    parser.add_argument("--backbone", default="ViT-B/32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plain-limit", type=int, default=400, help="classes above which the plain path does not fit")
    args = parser.parse_args()
    rows = [
        compare(case, args.backbone, prec, args.repeats, args.threads, args.plain_limit)
        for case in args.cases.split(",")
        for prec in args.precs.split(",")
    ]
    show(rows, args.json)


if __name__ == "__main__":
    main()
