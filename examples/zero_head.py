"""Is it better to start the head at zero? Run it with `exnihilo study examples/zero_head.py`."""

from exnihilo.lab.records import Network, Start
from exnihilo.lab.study import Study

study = Study(
    name="zero-head",
    question="Does a network whose head starts at zero end better than one that starts with He throughout?",
    tasks=("digits", "wine"),
    networks=(Network(depth=2, width=32, activation="relu"),),
    starts=(Start(name="zero_head"), Start(name="zeros")),
    baseline=Start(name="he_normal"),
    lrs=(0.01, 0.03, 0.1, 0.3),
    looks=(8, 12, 16),
    steps=200,
    margin=0.02,
)
