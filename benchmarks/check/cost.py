"""What a check costs beside one training step of the same model on the same batch, in time and in memory.

Steps and checks are timed in turn, one thread, on an otherwise idle machine; the fastest of each counts. Peak memory is
that of a process of its own for each, above what it holds before.

    python -m benchmarks.check.cost [--models resnet18 gpt2 ...]
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from benchmarks.check.packaged import _hugging, _timm, _vision
from benchmarks.check.subjects import Subject, classify, images, made, own, words

ROUNDS = 4
LARGE = {"vocab_size": 8000, "n_embd": 256, "n_layer": 6, "n_head": 8, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {"vocab_size": 8000, "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 8}
LLAMA |= {"intermediate_size": 688, "num_key_value_heads": 4}
VIT = {"img_size": 64, "patch_size": 8, "embed_dim": 192, "depth": 12, "num_heads": 3}
BUILDS: dict[str, Callable[[int], Subject]] = {
    "resnet18": made(lambda: _timm("resnet18"), images(64, 8), classify),
    "resnet18-he": made(lambda: _vision("resnet18"), images(64, 8), classify),
    "convnext": made(lambda: _timm("convnext_atto"), images(64, 8), classify),
    "vit-tiny": made(lambda: _timm("vit_tiny_patch16_224", **VIT), images(64, 8), classify),
    "mobilenetv2": made(lambda: _vision("mobilenet_v2"), images(64, 8), classify),
    "gpt2": made(lambda: _hugging("GPT2LMHeadModel", "GPT2Config", **LARGE), words(8000, 64), own),
    "llama": made(lambda: _hugging("LlamaForCausalLM", "LlamaConfig", **LLAMA), words(8000, 64), own),
}


def step(subject: Subject) -> Callable[[], None]:
    model = copy.deepcopy(subject.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def once() -> None:
        subject.loss(model, subject.batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return once


def check(subject: Subject) -> Callable[[], None]:
    from exnihilo import check as checked

    return lambda: checked(subject.model, subject.batch, subject.loss) and None


def fastest(run: Callable[[], None]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def peak(kind: str, name: str) -> float:
    """MB above the start, of a process of its own."""
    words_ = [sys.executable, "-m", "benchmarks.check.cost", "--peak", kind, "--models", name]
    done = subprocess.run(words_, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def measured_peak(kind: str, name: str) -> float:
    """The model, its gradients and all that a step or a check holds, in MB, at the highest."""
    warm = BUILDS["resnet18" if name != "resnet18" else "convnext"](0)
    step(warm)()
    check(warm)()
    del warm
    gc.collect()
    before = memory("VmRSS")
    subject = BUILDS[name](0)
    run = step(subject) if kind == "step" else check(subject)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    run()
    run()
    return memory("VmHWM") - before


def memory(kind: str) -> float:
    """MB of this process, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="*", choices=list(BUILDS), default=list(BUILDS))
    parser.add_argument("--peak", choices=["step", "check"])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if chosen.peak:
        print(measured_peak(chosen.peak, chosen.models[0]))
        return
    for name in chosen.models:
        subject = BUILDS[name](0)
        stepped, checked = step(subject), check(subject)
        stepped(), checked()
        pairs = [(fastest(stepped), fastest(checked)) for _ in range(ROUNDS)]
        one, all_ = (min(times) for times in zip(*pairs, strict=True))
        found = {"model": name, "step_ms": round(1e3 * one, 1), "check_ms": round(1e3 * all_, 1)}
        print(json.dumps({**found, "steps": round(all_ / one, 1)}), flush=True)


if __name__ == "__main__":
    main()
