"""Time the report of many runs.

    python scripts/bench/report.py [--runs 10000] [--keep DIR]

Writes records with invented results into a temporary folder (or DIR), in the layout of a sweep, and reports them with
all files. Needs neither data nor a GPU.
"""

import argparse
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from softcpt.evaluation.records import FILE_NAME, run_record, write_record
from softcpt.reports import write_report

METHODS = (
    "SoftCPT NATA|SoftCPT NATS|SoftCPT CATA|SoftCPT CATS|SoftCPT CSTA|CoOp shared|CoOp per-task|CoOp per-class|"
    "CoOp separate-shared|KgCoOp shared|ProGrad shared|CoCoOp|MaPLe|PromptSRC|PLOT 4-prompts|ProLIP|TaskRes|LPPlusPlus|"
    "TipAdapter|TipAdapterF"
).split("|")
TASKS = 10


def records(count: int):
    """`count` records and their folders: benchmarks x (20 methods x 5 shots x 5 seeds, and zero-shot)."""
    made = 0
    for benchmark in range(count):
        runs = [("ZeroshotCLIP", 0, 1)]
        runs += [(name, shots, seed) for name in METHODS for shots in (1, 2, 4, 8, 16) for seed in (1, 2, 3, 4, 5)]
        for name, shots, seed in runs:
            if made == count:
                return
            made += 1
            trainer, _, variant = name.partition(" ")
            folder = f"bench{benchmark}/{trainer}/rn50_{shots}shots/{variant or 'default'}/seed{seed}"
            yield folder, invented(trainer, variant, f"Bench{benchmark}", shots, seed)


def invented(trainer: str, variant: str, dataset: str, shots: int, seed: int) -> dict:
    rng = np.random.default_rng(zlib.crc32(f"{trainer} {variant} {dataset} {shots} {seed}".encode()))
    level = 55 + zlib.crc32(f"{trainer} {variant}".encode()) % 10 + 2.5 * np.log2(shots or 1)
    values = np.clip(level + np.linspace(-15, 15, TASKS) + rng.normal(0, 2, TASKS), 0, 100)
    tasks = [{"name": f"task {i}", "metric": "accuracy", "value": float(v), "n": 400} for i, v in enumerate(values)]
    command = f"python train.py --root data --seed {seed} --trainer {trainer} --output-dir output/{dataset} "
    command += f"--config-file configs/trainers/{trainer}/rn50.yaml DATASET.NUM_SHOTS {shots}"
    return run_record(
        trainer=trainer, variant=variant, dataset=dataset, shots=shots, seed=seed, backbone="RN50", split="test",
        tasks=tasks, n_params=8192 if shots else 0, train_seconds=30.0 if shots else 0.0, test_seconds=2.0,
        peak_memory_bytes=10**9, epochs=50, commit="0" * 40, versions={"torch": "2.4"}, device="cpu",
        steps=100 * shots, command=command,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="number of records (%(default)s)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder in which to keep the records and the report")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = args.keep or Path(temporary)
        for folder, record in records(args.runs):
            (out / folder).mkdir(parents=True, exist_ok=True)
            write_record(out / folder / FILE_NAME, record)
        start, busy = time.perf_counter(), time.process_time()
        write_report(out, out)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in sorted(out.glob("report.*")))
        print(f"{args.runs:,} runs: {seconds:.1f} s, {busy:.1f} s of them on a processor; {sizes}")


if __name__ == "__main__":
    main()
