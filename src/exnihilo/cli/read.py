"""``exnihilo read``: what a model is made of."""

from collections.abc import Sequence

from exnihilo.cli.models import model_named, structure_of
from exnihilo.cli.shown import columns_of, console, fold, printed
from exnihilo.structure.files import to_json
from exnihilo.structure.text import screen

_UNCUT = 10_000  # the screen cuts long lines; here they are folded, so that nothing is lost


def ask_read(spec: str, *, inputs: Sequence[str], sizes: Sequence[str], as_json: bool) -> None:
    """Read a model and print its structure, as one screen or as JSON."""
    structure = structure_of(model_named(spec, sizes=sizes, inputs=inputs))
    if as_json:
        print(to_json(structure))
        return
    to = console()
    lines = screen(structure, columns=_UNCUT).splitlines()
    printed(to, [piece for line in lines for piece in fold(line, columns_of(to))])
