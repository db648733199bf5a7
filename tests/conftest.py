"""What holds for every test: one thread, a search that can be repeated; and a model in a file for the command line."""

import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from typer.testing import CliRunner

from exnihilo.cli.app import app

# Tests run several at a time, a process each; thread pools on the same cores would slow each other down.
torch.set_num_threads(1)

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis tries new examples at a developer's desk and always the same ones in CI, where a red run must stay red.
settings.register_profile("desk", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

NET = '''
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    """Two residual blocks between an embedding and the head that is tied to it."""

    def __init__(self, width=8, depth=2):
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def build(width=8, depth=2):
    return Net(width, depth), torch.zeros(2, 4, dtype=torch.long)


def loud():
    print("a word from the factory")
    return build()


def on_meta():
    with torch.device("meta"):
        return Net()


def plain():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(1, 4)


class Powers(nn.Module):
    def __init__(self):
        super().__init__()
        self.map, self.exponent = nn.Linear(4, 2), nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.map(x).abs() ** self.exponent


class Remembering(nn.Linear):
    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        pass


def remembering():
    return Remembering(4, 2), torch.zeros(1, 4)


def failing():
    return 1 / 0


def leaving():
    raise SystemExit(3)


number = 3
'''

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that holds net.py, where the commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


@pytest.fixture
def ask() -> Generator[Ask]:
    """Calls ``exnihilo`` and returns exit code, standard output and standard error. Its import path goes."""
    before = sys.path.copy()

    def call(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [*arguments], prog_name="exnihilo")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    yield call
    sys.path[:] = before
