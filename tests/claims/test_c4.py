"""The verdict on C4 follows the contrasts: one that changes sides supports its part of the statement."""

from worlds import found_in, verdict_in

from exnihilo.claims.c4 import CLAIM


def wide_is_better_where(condition):
    def world(run):
        jitter = run.seed % 7 / 1e4
        wide = run.start.name == "normal"
        return {"test_score": (0.95 if condition(run) else 0.3) - jitter if wide else 0.8 - jitter}

    return world


def test_starts_that_are_alike_everywhere_refute_it() -> None:
    assert verdict_in(CLAIM, lambda run: {"test_score": 0.9 - run.seed % 7 / 1e4}) == "refuted"


def test_a_start_that_is_better_everywhere_refutes_it() -> None:
    assert verdict_in(CLAIM, wide_is_better_where(lambda run: True)) == "refuted"


def test_a_contrast_that_changes_sides_with_the_activation_alone_makes_it_depend_on_the_part() -> None:
    answer = CLAIM.answer(found_in(CLAIM, wide_is_better_where(lambda run: run.network.activation == "sigmoid")))
    assert answer.verdict == "depends"
    assert answer.factor is not None
    assert "'with the task' fails; 'with the network' fails; 'with the activation' holds" in answer.factor


def test_a_contrast_that_changes_sides_with_everything_supports_it() -> None:
    def condition(run):
        signs = (run.task in ("wine", "digits"), run.network.depth == 2, run.network.activation == "relu")
        return sum(signs) % 2 == 0

    assert verdict_in(CLAIM, wide_is_better_where(condition)) == "supported"


def test_noise_that_hides_every_difference_leaves_it_undecided() -> None:
    def world(run):
        wide = run.start.name == "normal"
        return {"test_score": 0.5 + (0.4 if wide else -0.4) * (1 if run.seed % 2 else -1)}

    assert verdict_in(CLAIM, world) == "undecided"


def test_a_diverged_run_counts_as_zero_in_the_table() -> None:
    def world(run):
        lost = run.start.name == "normal" and run.task == "wine"
        return {"test_score": float("nan"), "diverged": True} if lost else {"test_score": 0.9 - run.seed % 7 / 1e4}

    table = CLAIM.answer(found_in(CLAIM, world)).evidence.tables[0]
    assert {row[4] for row in table.rows if row[1] == "wine"} == {0.0}
