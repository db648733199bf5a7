"""A study is checked when it is built, and asks for exactly the runs that it declared."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping

import pytest
from fake_engine import QUALITY, noise, record_of

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab.records import Network, Optimizer, Run, RunRecord, Start
from exnihilo.lab.schedule import chosen_rates, comparisons_of, judge, judge_failures, pending, runs_of, tunings_of
from exnihilo.lab.study import SEEDS_PER_STUDY, Study

HE, XAVIER, ZEROS, NORMAL = (Start(name=name) for name in ("he_normal", "xavier_normal", "zeros", "normal"))
SMALL = Start(name="small_normal")


def study_with(**changes: object) -> Study:
    fields = {
        "name": "example",
        "question": "Is Xavier as good as He?",
        "tasks": ("digits",),
        "networks": (Network(depth=2, width=8),),
        "starts": (XAVIER,),
        "baseline": HE,
        "lrs": (0.01, 0.1, 1.0),
        "tuning_seeds": 2,
        "looks": (7, 9, 12),
        "steps": 20,
        "evaluations": 2,
        "measurements": 1,
    }
    return Study(**{**fields, **changes})  # type: ignore[arg-type]


def finished(study: Study, record: Callable[[Run], RunRecord] = record_of) -> tuple[list[int], dict[Run, RunRecord]]:
    """Run a study to its end; the number of runs of each round, and all records."""
    records: dict[Run, RunRecord] = {}
    rounds = []
    while runs := pending(study, records):
        assert len(set(runs)) == len(runs)
        assert not set(runs) & set(records)
        rounds.append(len(runs))
        records |= {run: record(run) for run in runs}
        assert len(rounds) < 20
    return rounds, records


def is_tuning(run: Run) -> bool:
    return run.seed % SEEDS_PER_STUDY >= SEEDS_PER_STUDY // 2


def with_quality(qualities: Mapping[str, float]) -> Callable[[Run], RunRecord]:
    return lambda run: record_of(run, qualities[run.start.name])


def with_scores(scores: Mapping[Start, Mapping[float, float]]) -> Callable[[Run], RunRecord]:
    """Test scores by start and rate, give or take a little; validation data prefers a rate of 0.1 throughout."""
    return lambda run: record_of(run, test_score=scores[run.start][run.lr] + noise(run, "test") / 20)


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "fact", "fix"),
    [
        ({"lrs": (0.1, -0.5)}, "Study.lrs holds -0.5; a learning rate must be positive and finite.", "lrs=(0.01, 0.1)"),
        ({"lrs": (0.0,)}, "Study.lrs holds 0; a learning rate must be positive and finite.", "lrs=(0.01, 0.1)"),
        ({"lrs": (math.nan,)}, "Study.lrs holds nan; a learning rate must be positive and finite.", "lrs=(0.01, 0.1)"),
        ({"lrs": ()}, "Study.lrs is empty; a study needs at least one entry.", "lrs=(0.01, 0.1)"),
        ({"tasks": ()}, "Study.tasks is empty; a study needs at least one entry.", 'tasks=("digits",)'),
        ({"starts": ()}, "Study.starts is empty; a study needs at least one entry.", 'starts=(Start(name="zeros"),)'),
        ({"lrs": 0.1}, "Study.lrs is 0.1; it must be a tuple.", "lrs=(0.01, 0.1)"),
        ({"lrs": ("0.1",)}, "Study.lrs holds '0.1'; each entry must be a number.", "lrs=(0.01, 0.1)"),
        ({"tasks": "wine"}, "Study.tasks is 'wine'; it must be a tuple.", 'tasks=("digits",)'),
        (
            {"starts": ("zeros",)},
            "Study.starts holds 'zeros'; each entry must be a Start.",
            'starts=(Start(name="zeros"),)',
        ),
        (
            {"networks": ("mlp",)},
            "Study.networks holds 'mlp'; each entry must be a Network or a Model.",
            "networks=(Network(depth=2),)",
        ),
        (
            {"optimizers": ("adam",)},
            "Study.optimizers holds 'adam'; each entry must be an Optimizer.",
            'optimizers=(Optimizer(name="adam"),)',
        ),
        ({"looks": (8.5,)}, "Study.looks holds 8.5; each entry must be a whole number.", "looks=(8, 12, 16)"),
        ({"baseline": "he"}, "Study.baseline is 'he'; it must be a Start.", 'baseline=Start(name="he_normal")'),
        (
            {"looks": (8, 8, 7)},
            "Study.looks is (8, 7); looks are cumulative seeds: ascending, and at least 1.",
            "looks=(8, 12, 16)",
        ),
        (
            {"looks": (6, 8, 10, 12)},
            "Study.looks has 4 looks; at most 3 share the level alpha.",
            "looks=(8, 12, 16)",
        ),
        ({"margin": 0.0}, "Study.margin is 0; it must be positive and finite.", "margin=0.01"),
        ({"alpha": 1.0}, "Study.alpha is 1; it must be between 0 and 1.", "alpha=0.05"),
        ({"seed": -1}, "Study.seed is -1; it must be in [0, 2**42).", "seed=0"),
        ({"steps": 0}, "Study.steps is 0; it must be at least 1.", "steps=3"),
        ({"policy": "best"}, "Study.policy is 'best'; it is 'tuned' or 'grid'.", 'policy="tuned"'),
        (
            {"metric": "steps_to_train_loss"},
            "Study.target is None, and the metric 'steps_to_train_loss' needs a target.",
            "target=0.9",
        ),
        ({"target": 0.5}, "Study.target is 0.5, and the metric 'test_score' takes no target.", "target=None"),
        (
            {"tasks": ("wine",), "networks": (Network(kind="cnn"),)},
            "Task 'wine' has no images, and a network of kind 'cnn' needs them.",
            'tasks=("digits",), or Network(kind="mlp")',
        ),
        (
            {"question": ""},
            "A study needs a name and a question; it is declared by them.",
            'Study(name="zero-head", question="Does a zero head start better than He?", ...)',
        ),
    ],
)
def test_a_study_is_refused_when_it_is_built(changes: dict[str, object], fact: str, fix: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        study_with(**changes)
    lines = str(caught.value).splitlines()
    assert lines[0] == fact
    assert lines[1] == "  study: 'example'"
    assert lines[2] == f"  Fix: {fix}"


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"tasks": ("digit",)}, "Unknown task 'digit'. Did you mean 'digits'?"),
        ({"starts": (Start(name="xaiver_normal"),)}, "Unknown start 'xaiver_normal'. Did you mean 'xavier_normal'?"),
        ({"baseline": Start(name="zeross")}, "Unknown start 'zeross'. Did you mean 'zeros'?"),
        ({"networks": (Network(activation="rulu"),)}, "Unknown activation 'rulu'. Did you mean 'relu'?"),
        ({"metric": "test_scor"}, "Unknown metric 'test_scor'. Did you mean 'test_score'?"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(changes: dict[str, object], fact: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        study_with(**changes)
    assert str(caught.value).splitlines()[0] == fact


def test_a_start_that_the_network_has_no_parameter_for_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="zero_gate"):
        study_with(starts=(Start(name="zero_gate"),))
    study_with(starts=(Start(name="zero_gate"),), networks=(Network(residual=True, gate=True),))


# ------------------------------------------------------------------------------------------------- what is declared


def test_the_declaration_holds_the_whole_method() -> None:
    declaration = study_with().declaration()
    held = json.loads(declaration.text)
    assert held["tasks"] == ["digits"]
    assert held["baseline"] == {"name": "he_normal", "value": None, "base": None}
    assert (held["margin"], held["alpha"], held["looks"], held["lrs"]) == (0.01, 0.05, [7, 9, 12], [0.01, 0.1, 1.0])
    assert set(held) == {field.name for field in dataclasses.fields(Study)} | {"numerics"}
    assert "exact sign-flip test" in declaration.rule and "±0.01" in declaration.rule


def test_every_change_of_the_method_changes_the_hash() -> None:
    variants = [
        study_with(),
        study_with(margin=0.02),
        study_with(lrs=(0.01, 0.1)),
        study_with(baseline=None),
        study_with(looks=(7, 9)),
        study_with(question="Another?"),
        study_with(vary_split=False),
    ]
    assert len({study.declaration().hash for study in variants}) == len(variants)
    assert study_with().declaration() == study_with(lrs=[1, 0.1, 0.01]).declaration()


# ---------------------------------------------------------------------------------------------------- what it runs


def test_judging_seeds_are_fresh_and_shared_by_all_starts() -> None:
    _, records = finished(study_with(starts=(XAVIER, ZEROS), seed=3))
    tuning = {run.seed for run in records if is_tuning(run)}
    judging = {
        start: {run.seed for run in records if run.start == start and not is_tuning(run)} for start in (HE, ZEROS)
    }
    assert tuning == {3 * 2**20 + 2**19, 3 * 2**20 + 2**19 + 1}
    assert judging[HE] >= judging[ZEROS] >= {3 * 2**20 + index for index in range(7)}
    assert all(run.split is None for run in records)


def test_seeds_of_different_studies_never_meet() -> None:
    first, second = (set(finished(study_with(seed=seed))[1]) for seed in (0, 1))
    assert not {run.seed for run in first} & {run.seed for run in second}


def test_one_split_is_shared_by_all_runs_and_said_in_the_verdict() -> None:
    study = study_with(vary_split=False, seed=5)
    _, records = finished(study)
    assert {run.split for run in records} == {5 * 2**20}
    assert judge(study, records)[0].rule.endswith("On one data split.")


def test_rates_are_tuned_with_equal_budgets_before_anything_is_judged() -> None:
    study = study_with(starts=(XAVIER, ZEROS), extend=0)
    runs = pending(study, ())
    assert len(runs) == 3 * 3 * 2  # starts, rates, tuning seeds
    assert all(map(is_tuning, runs))
    assert {start: sum(run.start == start for run in runs) for start in study.arms} == dict.fromkeys(study.arms, 6)


def test_rates_are_chosen_by_validation_data_alone() -> None:
    def record(run: Run) -> RunRecord:
        best_validation, best_test = run.lr == 1.0, run.lr == 0.1
        return record_of(run, validation_score=(0.1, 0.1, 0.9 if best_validation else 0.2), test_score=float(best_test))

    study = study_with(lrs=(0.001, 0.01, 0.1, 1.0, 3.0))
    _, records = finished(study, record)
    assert set(chosen_rates(study, records).values()) == {1.0}
    assert {run.lr for run in records if not is_tuning(run)} == {0.1, 1.0, 3.0}


def test_an_optimum_at_the_edge_extends_the_grid_of_every_start_of_its_place() -> None:
    other = Network(depth=1, width=8)
    study = study_with(starts=(SMALL, XAVIER), networks=(Network(depth=2, width=8), other))

    def record(run: Run) -> RunRecord:  # the small normal start prefers 30, in the deeper network alone
        return (
            dataclasses.replace(record_of(dataclasses.replace(run, start=HE)), run=run)
            if run.network == other
            else record_of(run)
        )

    _, records = finished(study, record)
    rates = {
        (depth, start): sorted(
            {r.lr for r in records if is_tuning(r) and r.network.depth == depth and r.start == start}
        )
        for depth in (1, 2)
        for start in study.arms
    }
    assert {key: value for key, value in rates.items() if key[0] == 2} == {
        (2, start): [0.01, 0.1, 1.0, 10.0, 100.0] for start in study.arms
    }
    assert all(rates[1, start] == [0.01, 0.1, 1.0] for start in study.arms)
    chosen = {(place.network.depth, start): lr for (place, start), lr in chosen_rates(study, records).items()}
    assert chosen[2, SMALL] in (10.0, 100.0)
    assert chosen[2, XAVIER] == chosen[1, XAVIER] == 0.1


def test_an_edge_that_may_not_grow_is_reported() -> None:
    study = study_with(starts=(SMALL,), extend=0)
    _, records = finished(study)
    (tuning,) = tunings_of(study, records)
    assert tuning.at_edge == {SMALL}
    assert tuning.rates == study.lrs


def test_a_start_that_learns_nothing_at_any_rate_takes_the_middle_one() -> None:
    study = study_with(starts=(ZEROS,))

    def record(run: Run) -> RunRecord:
        return record_of(run, validation_score=(0.1,) * 3) if run.start == ZEROS else record_of(run)

    _, records = finished(study, record)
    assert {lr for (_, start), lr in chosen_rates(study, records).items() if start == ZEROS} == {0.1}
    assert {run.lr for run in records} == {0.01, 0.1, 1.0}


def test_a_diverged_rate_is_never_chosen() -> None:
    study = study_with(lrs=(0.1, 10.0), extend=0)
    _, records = finished(study)
    assert any(record.diverged for record in records.values())
    assert set(chosen_rates(study, records).values()) == {0.1}


def test_a_single_rate_is_not_tuned() -> None:
    study = study_with(lrs=(0.1,), looks=(7,))
    rounds, records = finished(study)
    assert rounds == [2 * 7]
    assert not any(map(is_tuning, records))
    (comparison,) = comparisons_of(study, tunings_of(study, records))
    assert (comparison.near, comparison.baseline_near) == ((), ())
    assert "neighbor" not in judge(study, records)[0].rule + study.rule


def test_a_grid_runs_every_rate_on_judging_seeds() -> None:
    study = study_with(policy="grid", baseline=None, starts=(HE, ZEROS), lrs=(0.01, 0.1, 1.0, 10.0))
    rounds, records = finished(study)
    assert rounds == [2 * 4 * 7]
    assert not any(map(is_tuning, records))
    assert chosen_rates(study, records) == {}
    assert judge(study, records) == ()


def test_a_grid_with_a_baseline_compares_at_each_rate_alone() -> None:
    study = study_with(policy="grid", lrs=(0.01, 0.1), looks=(7,))
    rounds, records = finished(study, with_scores({HE: {0.01: 0.99, 0.1: 0.8}, XAVIER: {0.01: 0.9, 0.1: 0.9}}))
    assert rounds == [2 * 2 * 7]
    assert not any(comparison.near or comparison.baseline_near for comparison in comparisons_of(study, ()))
    verdicts = judge(study, records)
    assert [verdict.outcome for verdict in verdicts] == ["worse", "better"]
    assert not any("neighbor" in verdict.rule for verdict in verdicts) and "neighbor" not in study.rule
    assert [verdict.comparison for verdict in verdicts] == [
        "xavier_normal vs he_normal: digits, mlp 2x8 relu, momentum, lr 0.01",
        "xavier_normal vs he_normal: digits, mlp 2x8 relu, momentum, lr 0.1",
    ]


@pytest.mark.parametrize(("extend", "of_normal"), [(0, {0.1, 1.0}), (1, {0.1, 1.0, 10.0})])
def test_every_start_is_judged_at_its_best_rate_and_the_rates_next_to_it(extend: int, of_normal: set[float]) -> None:
    study = study_with(starts=(XAVIER, NORMAL), lrs=(0.001, 0.01, 0.1, 1.0), extend=extend, looks=(7,))
    _, records = finished(study)
    assert [*chosen_rates(study, records).values()] == [0.1, 0.1, 1.0]  # the last one is at the edge of the first grid
    judged = {
        start: {(run.lr, run.seed) for run in records if run.start == start and not is_tuning(run)}
        for start in study.arms
    }
    of_others = {0.01, 0.1, 1.0}
    assert judged == {
        start: {(lr, study.judging_seed(index)) for lr in rates for index in range(7)}
        for start, rates in {HE: of_others, XAVIER: of_others, NORMAL: of_normal}.items()
    }
    assert "at the chosen rates and their neighbors" in study.declaration().rule


# -------------------------------------------------------------------------------------------------- what it decides


@pytest.mark.parametrize(
    ("he_beside", "xavier_beside", "outcome"),
    [
        (0.7, 0.7, "better"),  # the chosen rates are the best ones
        (0.7, 0.95, "better"),  # the start has a better rate still
        (0.95, 0.7, "undecided"),  # the baseline has a rate that tuning missed, and is not worse there
        (0.9, 0.7, "undecided"),  # as good as the start there: nothing is left of the difference
    ],
)
def test_a_start_is_better_only_where_no_rate_next_to_the_baselines_makes_up_for_it(
    he_beside: float, xavier_beside: float, outcome: str
) -> None:
    study = study_with(looks=(8,))
    scores = {HE: {0.01: 0.7, 0.1: 0.8, 1.0: he_beside}, XAVIER: {0.01: 0.7, 0.1: 0.9, 1.0: xavier_beside}}
    _, records = finished(study, with_scores(scores))
    assert set(chosen_rates(study, records).values()) == {0.1}
    (verdict,) = judge(study, records)
    assert verdict.outcome == outcome
    assert verdict.estimate == pytest.approx(0.1, abs=0.01)  # at the chosen rates
    low, high = verdict.interval
    assert low == pytest.approx(0.9 - max(0.8, he_beside), abs=0.01)
    assert high == pytest.approx(max(0.9, xavier_beside) - 0.8, abs=0.01)
    assert "at the chosen rate and its neighbors" in verdict.rule


def test_starts_are_equivalent_only_where_the_rates_next_to_theirs_are_too() -> None:
    outcomes = []
    for beside in (0.85, 0.95):
        study = study_with(looks=(8,), margin=0.02)
        of_start = {0.01: 0.7, 0.1: 0.9, 1.0: beside}
        _, records = finished(study, with_scores({HE: {0.01: 0.7, 0.1: 0.9, 1.0: 0.7}, XAVIER: of_start}))
        outcomes.append(judge(study, records)[0].outcome)
    assert outcomes == ["equivalent", "undecided"]


def test_a_neighbor_that_diverged_takes_the_worst_value() -> None:
    study = study_with(lrs=(0.01, 0.1, 10.0), looks=(8,))
    _, records = finished(study, with_quality({"he_normal": 0.8, "xavier_normal": 0.9}))
    assert any(run.lr == 10.0 and record.diverged and not is_tuning(run) for run, record in records.items())
    (verdict,) = judge(study, records)
    assert (verdict.outcome, verdict.failures) == ("better", (0, 0))  # failures are counted at the chosen rates


def test_a_study_whose_neighbors_are_missing_cannot_be_judged() -> None:
    study = study_with()
    _, records = finished(study)
    chosen = {run: record for run, record in records.items() if is_tuning(run) or run.lr == 0.1}
    assert {run.lr for run in pending(study, chosen)} == {0.01, 1.0}
    with pytest.raises(InvalidValueError, match="at least 28 runs are missing"):  # starts, neighbors, seeds
        judge(study, chosen)


def test_only_undecided_comparisons_go_on_to_the_next_look() -> None:
    study = study_with(starts=(XAVIER, ZEROS), margin=0.001, looks=(8, 10, 12))
    rounds, records = finished(study, with_quality(QUALITY))
    verdicts = {verdict.comparison.split()[0]: verdict for verdict in judge(study, records)}
    assert (verdicts["zeros"].outcome, verdicts["zeros"].n) == ("worse", 8)
    assert (verdicts["xavier_normal"].outcome, verdicts["xavier_normal"].n) == ("undecided", 12)
    # Tuning; three arms at a rate and its two neighbors; then both arms of one comparison, at the same rates.
    assert rounds == [18, 3 * 3 * 8, 2 * 3 * 2, 2 * 3 * 2]
    for lr in (0.01, 0.1, 1.0):
        judged = {
            start: sum(r.start == start and r.lr == lr and not is_tuning(r) for r in records) for start in study.arms
        }
        assert judged == {HE: 12, XAVIER: 12, ZEROS: 8}


def test_a_decided_study_stops_at_its_first_look() -> None:
    study = study_with(margin=0.2)
    rounds, records = finished(study)
    assert rounds == [2 * 3 * 2, 2 * 3 * 7]
    assert judge(study, records)[0].outcome == "equivalent"


def test_the_verdict_turns_with_the_records() -> None:
    study = study_with(looks=(8,))
    outcomes = []
    for xavier in (0.99, 0.5):
        _, records = finished(study, with_quality({"he_normal": 0.8, "xavier_normal": xavier}))
        outcomes.append(judge(study, records)[0].outcome)
    assert outcomes == ["better", "worse"]


def test_lower_is_better_for_a_loss() -> None:
    study = study_with(metric="test_loss", looks=(8,))
    _, records = finished(study, with_quality({"he_normal": 0.8, "xavier_normal": 0.99}))
    assert judge(study, records)[0].outcome == "better"
    assert judge(study, records)[0].estimate > 0


def test_steps_to_a_target_count_a_run_that_never_arrives_as_one_step_more() -> None:
    def record(run: Run) -> RunRecord:
        arrives = run.start == XAVIER
        return record_of(run, evaluation_steps=(0, 10, 20), validation_score=(0.0, 0.95 if arrives else 0.3, 0.5))

    study = study_with(metric="steps_to_validation_score", target=0.9, looks=(8,), lrs=(0.1,), margin=1.0)
    _, records = finished(study, record)
    (verdict,) = judge(study, records)
    assert (verdict.outcome, verdict.estimate) == ("better", 11.0)


def test_failures_are_counted_and_a_diverged_run_takes_the_worst_value() -> None:
    def record(run: Run) -> RunRecord:
        broken = run.start == XAVIER and run.seed % 2 == 0
        return record_of(run, diverged=broken, test_score=math.nan if broken else 0.9)

    study = study_with(looks=(8,), lrs=(0.1,))
    _, records = finished(study, record)
    (verdict,) = judge(study, records)
    assert verdict.failures == (4, 0)
    assert verdict.estimate == pytest.approx(-0.45)


def test_failures_are_compared_on_the_seeds_of_each_verdict() -> None:
    def record(run: Run) -> RunRecord:
        late = not is_tuning(run) and run.seed >= 7  # seeds of a later look
        lost = run.start == ZEROS or (run.start == XAVIER and late)
        return record_of(run, moved=run.start != ZEROS or late, diverged=lost and late)

    study = study_with(starts=(XAVIER, ZEROS), margin=0.001, vary_split=False)
    _, records = finished(study, record)
    verdicts, failures = judge(study, records), judge_failures(study, records)
    assert [compared.comparison for compared in failures] == [verdict.comparison for verdict in verdicts]
    assert [(compared.n, compared.failures) for compared in failures] == [(v.n, v.failures) for v in verdicts]
    xavier, zeros = failures  # Xavier fails at seeds 7 to 11, zeros at every seed
    assert (xavier.n, xavier.failures, xavier.p_value) == (12, (5, 0), 2 * 0.5**5)
    assert (zeros.failures, zeros.p_value) == ((zeros.n, 0), 2 * 0.5**zeros.n)


def test_nothing_fails_in_a_study_without_a_baseline() -> None:
    study = study_with(baseline=None)
    assert judge_failures(study, finished(study)[1]) == ()


def test_an_unfinished_study_cannot_be_judged() -> None:
    study = study_with()
    _, records = finished(study)
    some = {run: record for run, record in records.items() if run.seed != study.judging_seed(3)}
    with pytest.raises(InvalidValueError, match="Study 'example' cannot be judged yet: at least 6 runs are missing"):
        judge(study, some)


def test_pending_and_verdicts_do_not_depend_on_the_order_of_the_records() -> None:
    study = study_with(starts=(XAVIER, ZEROS, NORMAL), margin=0.001)
    _, records = finished(study)
    backwards = tuple(reversed(records.values()))
    assert judge(study, backwards) == judge(study, records)
    assert pending(study, backwards) == ()
    partial = tuple(records.values())[::3]
    assert pending(study, partial) == pending(study, tuple(reversed(partial)))


def test_runs_of_a_foreign_study_with_more_seeds_change_nothing() -> None:
    study = study_with(starts=(XAVIER, ZEROS, NORMAL))
    _, alone = finished(study)
    _, foreign = finished(study_with(name="foreign", starts=(XAVIER, ZEROS, NORMAL), looks=(20,)))
    everything = foreign | alone
    assert len(everything) > len(alone)
    assert set(runs_of(study, everything)) == set(alone)
    assert runs_of(study, everything) == runs_of(study, alone)
    assert judge(study, everything) == judge(study, alone)
    assert {verdict.n for verdict in judge(study, everything)} <= set(study.looks)


def test_a_study_that_finds_all_its_runs_finished_asks_for_what_it_would_have_asked_alone() -> None:
    study = study_with(starts=(XAVIER, ZEROS, NORMAL))
    _, records = finished(study)
    _, foreign = finished(study_with(name="foreign", starts=(ZEROS, NORMAL), looks=(12,)))
    rest = dict(foreign)
    while runs := pending(study, rest):
        assert set(runs) <= set(records) - set(foreign)
        rest |= {run: record_of(run) for run in runs}
    assert set(runs_of(study, rest)) == set(records)


def test_the_runs_of_a_study_that_has_just_begun_are_those_it_asked_for() -> None:
    study = study_with()
    asked = pending(study, {})
    judging = study.run(study.places[0], HE, 0.1, study.judging_seed(0))
    records = {run: record_of(run) for run in (*asked[:3], judging)}
    assert runs_of(study, records) == asked[:3]  # the rate of the judging run is not chosen yet


def test_optimizers_and_tasks_make_places_of_their_own() -> None:
    study = study_with(tasks=("digits", "wine"), optimizers=(Optimizer(), Optimizer(name="adam")), looks=(8,))
    _, records = finished(study)
    assert len(judge(study, records)) == 4
    assert len(chosen_rates(study, records)) == 8
