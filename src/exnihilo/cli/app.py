"""The commands and their arguments; what they do is imported when they run, so that the core alone can answer."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from exnihilo.cli.extras import require_lab
from exnihilo.cli.outcomes import outcomes_shown
from exnihilo.version import __version__

app = typer.Typer(
    help="Start PyTorch networks right, from zero or from anything: what is true about initialization, measured.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


ALL_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Workers = Annotated[int, typer.Option(min=1, help="Processes that train, one thread each.", show_default="all cores")]
Out = Annotated[Path, typer.Option(help="Folder of the report and of the ledger that resumes.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how many runs, how long, and what can be decided; run none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON, alone on standard output.")]


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="my_model.py:build, package.module:build, hf:gpt2 or timm:resnet50.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="[NAME=]SHAPE[:DTYPE]", help="What the model is called with: 2x3x224x224."),
]
Sizes = Annotated[
    list[str] | None, typer.Option("--size", metavar="NAME=VALUE", help="What the model is built with: n_layer=2.")
]


def _version(asked: bool) -> None:
    if asked:
        print(f"exnihilo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command("claims")
def claims(
    only: Annotated[str, typer.Option(help="Ids of claims, such as D2,T6,P4.", show_default="all of --set")] = "",
    of_set: Annotated[
        str, typer.Option("--set", help="article: its 24 claims. published: what papers on initialization found.")
    ] = "article",
    preset: Annotated[
        str, typer.Option(help="quick: minutes. full: more tasks, seeds and steps; --dry-run says how long.")
    ] = "quick",
    seed: Annotated[int, typer.Option(min=0, help="Another seed repeats all on other splits, values and orders.")] = 0,
    workers: Workers = ALL_CORES,
    out: Out = Path("report"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the article, or papers, claim about initialization, and write the page that answers."""
    with outcomes_shown(out):
        require_lab("exnihilo claims")
        from exnihilo.cli.claims import ask_claims  # needs the extra

        ask_claims(
            only, of_set=of_set, preset=preset, seed=seed, workers=workers, out=out, dry_run=dry_run, as_json=as_json
        )


@app.command("study")
def study(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="Holds `study = Study(...)`, or `studies`.")],
    data: Annotated[
        Path | None, typer.Option(help="A CSV, Parquet or .npz file that takes the place of the study's tasks.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column of --data to learn.", show_default="target")] = None,
    kind: Annotated[
        str | None, typer.Option(help="classification or regression.", show_default="read from the target")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Base seed.", show_default="as in the file")] = None,
    workers: Workers = ALL_CORES,
    out: Out = Path("report"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a study of your own, on the lab's tasks or on your data, to its verdicts."""
    with outcomes_shown(out):
        require_lab("exnihilo study")
        from exnihilo.cli.study import ask_study  # needs the extra

        ask_study(
            file,
            data=data,
            target=target,
            kind=kind,
            seed=seed,
            workers=workers,
            out=out,
            dry_run=dry_run,
            as_json=as_json,
        )


@app.command("read")
def read(model: Model, inputs: Inputs = None, sizes: Sizes = None, as_json: AsJson = False) -> None:
    """Read a model's structure from what it computes: roles of parameters, residual branches, attention."""
    with outcomes_shown():
        from exnihilo.cli.read import ask_read  # imports torch, for which --help need not wait

        ask_read(model, inputs=inputs or (), sizes=sizes or (), as_json=as_json)


@app.command("plan")
def plan(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="As `exnihilo read` takes it.")] = None,
    recipe: Annotated[str | None, typer.Option(help="As `exnihilo recipes` lists them, or he(mode=fan_out).")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATTERN=SCHEME", help="Another law: head.*=zeros, role:HEAD=normal(std=0.01)."),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Parameters to leave as they are, whatever else says.")
    ] = None,
    inputs: Inputs = None,
    sizes: Sizes = None,
    out: Annotated[Path | None, typer.Option(help="Save the plan here, for `exnihilo apply`.")] = None,
    compared: Annotated[
        tuple[Path, Path] | None, typer.Option("--diff", metavar="A.json B.json", help="Compare two saved plans.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="List each kept parameter too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Plan a model's initialization as a table to review; nothing is written to a model."""
    with outcomes_shown():
        from exnihilo.cli.plan import ask_diff, ask_plan, require_either  # as above

        asked = {"MODEL": model, "--recipe": recipe}
        others = {"--set": overrides, "--keep": keep, "--input": inputs, "--size": sizes, "--out": out}
        require_either(asked, others, compared)
        if compared is not None:
            ask_diff(*compared, as_json=as_json)
            return
        ask_plan(
            model or "",
            recipe=recipe or "",
            overrides=overrides or (),
            keep=keep or (),
            inputs=inputs or (),
            sizes=sizes or (),
            out=out,
            everything=everything,
            as_json=as_json,
        )


@app.command("apply")
def apply(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.json", help="From `exnihilo plan --out`.")],
    model: Model,
    seed: Annotated[int, typer.Option(help="One seed gives equal bits.")],
    out: Annotated[Path, typer.Option(help="The state dict: weights.safetensors or weights.pt.")],
    manifest: Annotated[Path | None, typer.Option(help="Save the manifest here, for `exnihilo rebuild`.")] = None,
    sizes: Sizes = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the files where there are some.")] = False,
    as_json: AsJson = False,
) -> None:
    """Build a model, initialize it as a plan says, and write its state dict to a file."""
    with outcomes_shown():
        from exnihilo.cli.apply import ask_apply  # as above

        ask_apply(plan, model, seed=seed, sizes=sizes or (), out=out, manifest=manifest, force=force, as_json=as_json)


@app.command("rebuild")
def rebuild(
    manifest: Annotated[
        Path, typer.Argument(metavar="MANIFEST", help="JSON, or a .safetensors file with a manifest in its header.")
    ],
    model: Model,
    sizes: Sizes = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Compare these weights of step 0 too: .safetensors or .pt.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a start can be built again bit for bit, from its manifest. Exits with 1 where something differs."""
    with outcomes_shown():
        from exnihilo.cli.rebuild import ask_rebuild  # as above

        ask_rebuild(manifest, model, sizes=sizes or (), checkpoint=checkpoint, as_json=as_json)


@app.command("check")
def check(
    model: Model,
    inputs: Inputs = None,
    sizes: Sizes = None,
    suppress: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE[:PATTERN]=REASON", help="Keep findings of a rule, and do not count them."),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="sgd, adam or adamw: judge its first steps.", show_default="adamw with --lr")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0.0, help="The learning rate to judge.", show_default="the optimizer's own")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for a WARN too.")] = False,
    out: Annotated[Path | None, typer.Option(help="Save the diagnosis here, as JSON.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Save the findings here, as SARIF for CI.")] = None,
    html: Annotated[Path | None, typer.Option(help="Save a page here: the findings, drawn on the model.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Save the remedies here, for `exnihilo apply`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prove before training that a model can learn, or name what stops it. Exits with 1 where something fails."""
    with outcomes_shown():
        from exnihilo.cli.check import ask_check  # as above

        ask_check(
            model,
            inputs=inputs or (),
            sizes=sizes or (),
            suppress=suppress or (),
            optimizer=optimizer,
            lr=lr,
            strict=strict,
            out=out,
            sarif=sarif,
            html=html,
            plan=plan,
            as_json=as_json,
        )


@app.command("recipes")
def recipes() -> None:
    """List the recipes that a plan can follow."""
    with outcomes_shown():
        from exnihilo.cli.recipes import ask_recipes  # as above

        ask_recipes()


def main() -> None:
    """The entry point of ``exnihilo``."""
    try:
        app()
    except KeyboardInterrupt:  # before a command could answer it, as while torch is imported
        sys.exit(130)
