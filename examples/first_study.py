"""Can an all-zero network keep up with He initialization? A study of a few seconds."""

import exnihilo as xn

question = xn.Study(
    name="zeros against He",
    question="Can an all-zero network keep up with He initialization?",
    tasks=("wine",),
    networks=(xn.Network(depth=2, width=16, activation="relu"),),
    starts=(xn.Start(name="zeros"), xn.Start(name="zero_head")),
    baseline=xn.Start(name="he_normal"),
    lrs=(0.01, 0.03, 0.1),
    looks=(10,),
    steps=100,
    margin=0.1,
)

if __name__ == "__main__":
    for verdict in xn.study(question).verdicts:
        print(f"{verdict.comparison}: {verdict.outcome} (n = {verdict.n})")
