"""Building models from their configurations: transformers' own way against a recorded plan.

Both sides end with a model in memory that is ready to train: `from_config` draws every parameter two or three times
from one serial stream; `exnihilo.record` notes what it would draw, and `materialize` writes each element once. The
recording is part of our time. Each build is a process of its own, since first-touched memory costs as much as the
numbers in it and a process that built before has it at hand; the sides take turns.

    python benchmarks/building.py [--rounds 5] [--models bert-base gpt2] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MODELS = ("bert-base", "gpt2", "vit-b", "llama-1b")
WANTED = (5.0, 6.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Seconds of each build, on one thread by CPU time and on two by the clock, of both sides."""

    model: str
    parameters: int
    theirs: tuple[tuple[float, ...], tuple[float, ...]]
    ours: tuple[tuple[float, ...], tuple[float, ...]]
    wanted: tuple[float, float] = WANTED


def config(name: str):
    """The configuration of a published size, which is transformers' default for three of the four."""
    import transformers

    match name:
        case "bert-base":
            return transformers.AutoModel, transformers.BertConfig()
        case "gpt2":
            return transformers.AutoModelForCausalLM, transformers.GPT2Config()
        case "vit-b":
            return transformers.AutoModel, transformers.ViTConfig()
        case "llama-1b":
            return transformers.AutoModelForCausalLM, transformers.LlamaConfig(
                hidden_size=2048,
                intermediate_size=8192,
                num_hidden_layers=16,
                num_attention_heads=32,
                num_key_value_heads=8,
                vocab_size=128256,
                tie_word_embeddings=True,
            )
    raise SystemExit(f"no model {name}; there are {', '.join(MODELS)}")


def build(name: str, side: str, threads: int) -> None:
    """Build once, and print the seconds and the number of parameters."""
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from torchvision_shim import define_missing_operators

    kept = define_missing_operators()
    import exnihilo as xn

    torch.set_num_threads(threads)
    kind, made_of = config(name)
    clock = time.process_time if threads == 1 else time.perf_counter
    kind.from_config(small(made_of))  # imports the architecture's modules, outside of the time
    xn.materialize(*xn.record(lambda: kind.from_config(small(made_of))), seed=0)
    start = clock()
    if side == "theirs":
        model = kind.from_config(made_of)
    else:
        model, plan = xn.record(lambda: kind.from_config(made_of))
        model = xn.materialize(model, plan, seed=0)
    seconds = clock() - start
    print(json.dumps({"seconds": seconds, "parameters": sum(p.numel() for p in model.parameters())}))
    del kept


def small(made_of):
    """The same architecture with one layer."""
    import copy

    other = copy.deepcopy(made_of)
    for name in ("num_hidden_layers", "n_layer"):
        if hasattr(other, name):
            setattr(other, name, 1)
    return other


def once(name: str, side: str, threads: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--build", name, side, str(threads)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compared(name: str, rounds: int) -> Built:
    theirs: tuple[list[float], list[float]] = ([], [])
    ours: tuple[list[float], list[float]] = ([], [])
    parameters = 0
    for place, threads in enumerate((1, 2)):
        for _ in range(rounds):
            for side, times in (("theirs", theirs), ("ours", ours)):
                found = once(name, side, threads)
                times[place].append(found["seconds"])
                parameters = int(found["parameters"])
    return Built(
        model=name,
        parameters=parameters,
        theirs=(tuple(theirs[0]), tuple(theirs[1])),
        ours=(tuple(ours[0]), tuple(ours[1])),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--build", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        build(options.build[0], options.build[1], int(options.build[2]))
        return
    rows = [compared(name, options.rounds) for name in options.models]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    for row in rows:
        for place, what in enumerate(("one core", "two cores")):
            theirs, ours = statistics.median(row.theirs[place]), statistics.median(row.ours[place])
            asked = f"(asked {row.wanted[place]:g}×)"
            print(f"{row.model:<10} {what:<10} {theirs:7.2f} s, ours {ours:6.2f} s: {theirs / ours:5.1f}× {asked}")


if __name__ == "__main__":
    main()
