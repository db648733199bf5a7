"""The verdict on C4 follows the winners of the places: two that share none support their part of the statement."""

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


def test_a_winner_that_changes_with_the_activation_alone_makes_it_depend_on_the_part() -> None:
    answer = CLAIM.answer(found_in(CLAIM, wide_is_better_where(lambda run: run.network.activation == "sigmoid")))
    assert answer.verdict == "depends"
    assert answer.factor is not None
    assert "'with the task' fails; 'with the network' fails; 'with the activation' holds" in answer.factor


def test_a_winner_that_changes_with_everything_supports_it() -> None:
    def condition(run):
        signs = (run.task in ("wine", "digits"), run.network.depth == 2, run.network.activation == "relu")
        return sum(signs) % 2 == 0

    assert verdict_in(CLAIM, wide_is_better_where(condition)) == "supported"


def test_noise_that_hides_every_difference_leaves_it_undecided() -> None:
    def world(run):
        wide = run.start.name == "normal"
        return {"test_score": 0.5 + (0.4 if wide else -0.4) * (1 if run.seed % 2 else -1)}

    assert verdict_in(CLAIM, world) == "undecided"


def test_a_diverged_run_counts_as_zero_and_ranks_last() -> None:
    def world(run):
        lost = run.start.name == "normal" and run.task == "wine"
        return {"test_score": float("nan"), "diverged": True} if lost else {"test_score": 0.9 - run.seed % 7 / 1e4}

    table = CLAIM.answer(found_in(CLAIM, world)).evidence.tables[0]
    column = table.columns.index("normal(1)")
    assert {row[column] for row in table.rows if row[1] == "wine"} == {"0.000 (4)"}
    assert {row[-1] for row in table.rows if row[1] == "wine"} == {"xavier_normal, he_normal and small_normal"}


def test_a_higher_mean_that_is_not_shown_to_be_better_leaves_two_winners_and_the_part_open() -> None:
    def world(run):
        sign = 1 if run.seed % 2 else -1
        ahead = ("he_normal", 0.05) if run.network.activation == "relu" else ("xavier_normal", 0.05)
        mean = 0.5 + (ahead[1] if run.start.name == ahead[0] else 0.0)
        return {"test_score": mean + (0.3 * sign if run.start.name in ("he_normal", "normal") else -0.3 * sign)}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "undecided"
    assert "in 0 places there is just one winner" in answer.finding


def test_a_winner_that_changes_in_one_pair_of_tasks_is_enough() -> None:
    def condition(run):
        return run.network.depth == 2 and run.task == "wine"

    answer = CLAIM.answer(found_in(CLAIM, wide_is_better_where(condition)))
    task, network, activation = answer.evidence.cells
    assert (task.supports, network.supports, activation.supports) == (True, True, False)
    assert "The winner changes in 3 of 18 pairs" in task.finding


def test_all_pairs_of_starts_are_one_family() -> None:
    table = CLAIM.answer(found_in(CLAIM, wide_is_better_where(lambda run: True))).evidence.tables[1]
    assert sum(sum(row[2:]) for row in table.rows) == 6 * 12
