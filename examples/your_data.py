"""Which start suits a small network on your data?

Run it with `exnihilo study examples/your_data.py --data my_data.csv --target label`: your file takes the place of the
task below, and nothing else needs to be changed. Every start gets its own learning rate, chosen on validation data.
"""

from exnihilo.lab.records import Network, Start
from exnihilo.lab.study import Study

study = Study(
    name="your-data",
    question="Which start suits a small network on this data?",
    tasks=("wine",),
    networks=(Network(depth=2, width=32, activation="relu"), Network(depth=2, width=32, activation="tanh")),
    starts=(Start(name="zeros"), Start(name="small_normal"), Start(name="xavier_normal"), Start(name="torch_default")),
    baseline=Start(name="he_normal"),
    lrs=(0.003, 0.01, 0.03, 0.1, 0.3),
    looks=(12, 16),
    steps=200,
    batch_size=16,
    margin=0.02,
)
