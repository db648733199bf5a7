"""The verdict on C4 follows the winners of the places: two that share none support their part of the statement."""

from itertools import permutations

from worlds import found_in, verdict_in

from exnihilo.claims.c4 import CLAIM, NETWORKS, SHALLOW_DEPTH, STARTS, Contrast, Ranking, _more_seeds
from exnihilo.lab.records import Optimizer, Start
from exnihilo.lab.study import Place


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
        signs = (run.task in ("wine", "digits"), run.network.depth == SHALLOW_DEPTH, run.network.activation == "relu")
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
    column = table.columns.index("normal(2)")
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
        return run.network.depth == SHALLOW_DEPTH and run.task == "wine"

    answer = CLAIM.answer(found_in(CLAIM, wide_is_better_where(condition)))
    task, network, activation = answer.evidence.cells
    assert (task.supports, network.supports, activation.supports) == (True, True, False)
    assert "The winner changes in 6 of 24 pairs" in task.finding


def test_all_pairs_of_starts_are_one_family() -> None:
    table = CLAIM.answer(found_in(CLAIM, wide_is_better_where(lambda run: True))).evidence.tables[1]
    assert sum(sum(row[2:]) for row in table.rows) == 6 * 16


XAVIER, HE, SMALL_START, WIDE = STARTS
A, B = (Place(task=task, network=NETWORKS[0], optimizer=Optimizer()) for task in ("wine", "digits"))


def needed(leads: dict[Place, Start], undecided: dict[tuple[Place, Start], tuple[float, int | None]]) -> int | None:
    """More seeds for the pair (A, B): in each place one start leads, and is better than the others but for some."""
    contrasts: dict[tuple[Place, Start, Start], Contrast] = {}
    for spot, first in leads.items():
        for one, other in permutations(STARTS, 2):
            estimate = 0.5 if one == first else -0.5 if other == first else 0.0
            outcome = "better" if estimate > 0 else "worse" if estimate < 0 else "equivalent"
            contrasts[spot, one, other] = Contrast(estimate, (estimate, estimate), outcome, None)
    for (spot, other), (estimate, more) in undecided.items():
        first = leads[spot]
        contrasts[spot, first, other] = Contrast(estimate, (-1.0, 1.0), "undecided", more)
        contrasts[spot, other, first] = Contrast(-estimate, (-1.0, 1.0), "undecided", more)
    rankings = {
        spot: Ranking(
            order=(first, *(start for start in STARTS if start != first)),
            winners=frozenset({first, *(other for place, other in undecided if place == spot)}),
            safe=frozenset(),
        )
        for spot, first in leads.items()
    }
    return _more_seeds([(A, B)], rankings, contrasts, 0.02)


def test_a_part_is_decided_once_each_shared_winner_is_beaten_in_one_of_the_places() -> None:
    # Xavier leads in A and He in B; each is a winner in the other's place too. Both have to be beaten there.
    assert needed({A: XAVIER, B: HE}, {(A, HE): (0.1, 7), (B, XAVIER): (0.1, 30)}) == 30
    # He is beaten in A after 7; nothing beats it in B, and it is the only winner that they share.
    assert needed({A: XAVIER, B: HE}, {(A, HE): (0.1, 7)}) == 7


def test_a_part_is_decided_once_one_start_is_safe_in_both_places() -> None:
    # Differences inside the margin end as equivalent: after 9 in A and 12 in B, both are safe in both.
    assert needed({A: XAVIER, B: HE}, {(A, HE): (0.01, 9), (B, XAVIER): (0.01, 12)}) == 12
    # He turns out worse than Xavier in A, and Xavier equivalent to He in B: Xavier is safe in both once that is known.
    assert needed({A: XAVIER, B: HE}, {(A, HE): (0.1, 90), (B, XAVIER): (0.01, 12)}) == 90


def test_no_number_of_seeds_decides_a_part_whose_estimates_settle_nothing() -> None:
    assert needed({A: XAVIER, B: HE}, {(A, HE): (0.1, None), (B, XAVIER): (0.1, 30)}) is None


def test_an_open_part_says_how_many_seeds_it_needs() -> None:
    def world(run):
        wide = run.start.name == "normal"
        return {"test_score": 0.5 + (0.2 if wide else 0.0) + (0.2 if wide else -0.2) * (1 if run.seed % 2 else -1)}

    answer = CLAIM.answer(found_in(CLAIM, world))
    cells = answer.evidence.cells
    assert [cell.supports for cell in cells] == [None] * 3
    assert all(cell.more_seeds and cell.more_seeds > 0 for cell in cells)
    assert f"is not shown to change with the task (about {cells[0].more_seeds} more seeds would tell)" in answer.finding
