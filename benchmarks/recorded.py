"""Recordings of real models: which succeed, how long they take, and whether the plans tell the models' own laws.

For each model of ``models.json``: parameters, seconds to record, rows by scheme, and where it fails the tensors that no
plan can tell; with ``--oracle``, what differs from the model built for real from four seeds
(``tests/plans/real_starts.py``). ``--large`` records models of full size, up to 70 billion parameters. Totals stand at
the end.

Run: python benchmarks/recorded.py [--only NAME] [--source SOURCE] [--oracle] [--large]
"""

import argparse
import gc
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_list import KEPT_ALIVE, listed  # first: it lets torchvision be imported

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "plans"))
from real_starts import disagreements
from torch import nn

from exnihilo.errors import ExnihiloError
from exnihilo.plans.files import from_json, to_json
from exnihilo.plans.record import record
from exnihilo.plans.records import Plan


def large() -> dict[str, Callable[[], nn.Module]]:
    """Models of full size."""
    import transformers as hf

    llama_1b = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "tie_word_embeddings": True}
    llama_70b = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    shared: dict[str, Any] = {"vocab_size": 128256, "num_key_value_heads": 8}
    return {
        "bert-base": lambda: hf.BertForMaskedLM(hf.BertConfig()),
        "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config()),
        "gpt2-xl": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(n_embd=1600, n_layer=48, n_head=25)),
        "vit-b": lambda: hf.ViTForImageClassification(hf.ViTConfig()),
        "llama-1b": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**llama_1b, **shared)),
        "mixtral-8x7b": lambda: hf.MixtralForCausalLM(hf.MixtralConfig()),
        "llama-70b": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**llama_70b, **shared)),
    }


def laws(plan: Plan) -> str:
    """How many rows there are of each scheme or action."""
    kinds = Counter((row.scheme or row.action).partition("(")[0] for row in plan.rows)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def measure(name: str, factory: Callable[[], nn.Module], *, oracle: bool) -> str:
    """Print one model's line, and return why it fails; empty where it does not."""
    began, memory = time.process_time(), _megabytes()
    try:
        recorded = record(factory)
        seconds = time.process_time() - began
        from_json(to_json(recorded.plan))
    except ExnihiloError as error:
        print(f"{name:40} FAILED {'; '.join(error.context) or error.fact}", flush=True)
        return error.context[0].partition(": ")[2] if error.context else error.fact
    millions = sum(parameter.numel() for parameter in recorded.model.parameters()) / 1e6
    line = f"{name:40} {millions:10.1f} M {seconds:6.2f} s {_megabytes() - memory:6.0f} MB  {laws(recorded.plan)}"
    del recorded
    found = disagreements(factory) if oracle else {}
    print(line, *(f"\n    DIFFERS {parameter}: {what}" for parameter, what in found.items()), flush=True)
    return "differs from the oracle" if found else ""


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="a name of models.json; may be repeated")
    parser.add_argument("--source", help="timm, transformers, torchvision, peft or plain")
    parser.add_argument("--oracle", action="store_true", help="compare with the models built for real")
    parser.add_argument("--large", action="store_true", help="models of full size instead")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = large() if options.large else {spec.name: spec.build for spec in listed()}
    sources = {spec.name: spec.source for spec in listed()}
    outcomes: Counter[str] = Counter()
    for name, factory in chosen.items():
        if (options.only and name not in options.only) or (options.source and sources.get(name) != options.source):
            continue
        outcomes[measure(name, factory, oracle=options.oracle)] += 1
        gc.collect()
    print(f"{outcomes[''] or 0} of {outcomes.total()} recorded" + (" as the oracle says" if options.oracle else ""))
    for why, count in outcomes.most_common():
        if why:
            print(f"  {count}: {why}")


if __name__ == "__main__":
    assert KEPT_ALIVE is None or KEPT_ALIVE
    main()
