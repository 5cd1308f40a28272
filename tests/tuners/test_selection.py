"""Shrunken scores: their mathematics, their bias where the truth is known, and the choice."""

import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from threadpoolctl import threadpool_limits

from kerasreg import tuners
from kerasreg.tuners._selection import select_trial
from kerasreg.tuners._trained_again import leading_trials


@pytest.fixture(autouse=True, scope="module")
def one_thread_for_small_matrices():
    """Thousands are solved: threads that wait for each other took many times as long."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def draw(rng, count, folds, spread, noise=1.0, of_folds=1.0):
    """The truth of settings, and their scores in folds that they have in common."""
    truth = spread * rng.normal(size=count)
    common = of_folds * rng.normal(size=folds)
    return truth, truth[:, None] + common + noise * rng.normal(size=(count, folds))


def columns(found, *names):
    return [np.array([getattr(row, name) for row in found.rows]) for name in names]


def test_complete_scores_have_the_closed_form_of_the_analysis_of_variance():
    _, scores = draw(np.random.default_rng(1), 8, 5, spread=1.0)
    found = tuners.shrunken_scores(scores, "max")
    mean, of_settings, of_folds = scores.mean(), scores.mean(1), scores.mean(0)
    rest = scores - of_settings[:, None] - of_folds + mean
    noise = (rest**2).sum() / (7 * 4)
    spread = ((of_settings - mean) ** 2).sum() / 6 - noise / 5
    kept = spread / (spread + noise / 5)
    assert (found.noise**2, found.spread**2) == pytest.approx((noise, spread))
    means, errors, shrunken, total = columns(
        found, "mean", "standard_error", "shrunken", "shrunken_error"
    )
    np.testing.assert_allclose(means, of_settings)
    np.testing.assert_allclose(errors, np.sqrt(noise / 5))
    np.testing.assert_allclose(shrunken, mean + kept * (of_settings - mean))
    # By the variance that is left, how sure the spread is, and how much folds differ.
    slope = (of_settings - mean) * (noise / 5) * np.sqrt(2 * 7)
    slope /= ((of_settings - mean) ** 2).sum()
    variance = noise / 5 * kept * (1 - 1 / 8) + slope**2 + of_folds.var(ddof=1) / 5
    np.testing.assert_allclose(total, np.sqrt(variance))


def dummies(scores):
    """Scores as one column of numbers, with a column of ones for each setting and each fold."""
    rows, cols = np.nonzero(np.isfinite(scores))
    return scores[rows, cols], np.eye(scores.shape[0])[rows], np.eye(scores.shape[1])[cols]


def test_incomplete_scores_solve_the_equations_of_the_mixed_model():
    rng = np.random.default_rng(2)
    _, scores = draw(rng, 7, 5, spread=1.0)
    scores[rng.random(scores.shape) < 0.3] = np.nan
    scores[0, 1:] = np.nan  # A setting with one fold.
    scores[0, 0], scores[1] = 1.0, np.arange(5)
    found = tuners.shrunken_scores(scores, "min")
    y, of_settings, of_folds = dummies(scores)
    both = np.hstack([of_settings, of_folds])
    solution, _, rank, _ = np.linalg.lstsq(both, y, rcond=None)
    noise = ((y - both @ solution) ** 2).sum() / (len(y) - rank)
    assert found.noise**2 == pytest.approx(noise)
    # Differences of settings, and their variance, by any full set of contrasts.
    contrasts = np.eye(7)[:, 1:] - np.eye(7)[:, :1]
    contrasts = np.linalg.qr(contrasts)[0]
    differences = contrasts.T @ solution[:7]
    of_noise = contrasts.T @ np.linalg.pinv(both.T @ both)[:7, :7] @ contrasts * noise
    total = found.spread**2 * np.eye(6) + of_noise
    assert differences @ np.linalg.solve(total, differences) == pytest.approx(6 - 1)
    # Henderson's equations.
    ratio = noise / found.spread**2
    sides = both.T @ y
    left = both.T @ both + np.diag([ratio] * 7 + [0.0] * 5)
    predicted = np.linalg.solve(left, sides)
    (shrunken,) = columns(found, "shrunken")
    np.testing.assert_allclose(shrunken, predicted[7:].mean() + predicted[:7])
    assert [row.measured for row in found.rows] == np.isfinite(scores).sum(1).tolist()


def test_settings_without_common_folds_are_compared_by_their_noise():
    scores = np.full((4, 8), np.nan)
    rng = np.random.default_rng(3)
    for index, of_setting in enumerate(scores):
        of_setting[2 * index : 2 * index + 2] = rng.normal(3.0 * index, 0.1, 2)
    found = tuners.shrunken_scores(scores, "max")
    within = np.nanvar(scores, axis=1, ddof=1).mean()
    assert found.noise**2 == pytest.approx(within)
    assert found.best() == 3


def test_far_worse_settings_do_not_hide_that_good_ones_are_equal():
    rng = np.random.default_rng(4)
    _, good = draw(rng, 20, 5, spread=0.0)
    bad = rng.normal(100.0, 30.0, size=(15, 5))
    alone, among = (tuners.shrunken_scores(s, "min") for s in (good, np.vstack([good, bad])))
    assert (among.noise, among.spread) == pytest.approx((alone.noise, alone.spread))
    assert [row.shrunken for row in among][:20] == pytest.approx([row.shrunken for row in alone])
    # They are left as they are.
    assert [row.shrunken for row in among][20:] == pytest.approx(bad.mean(1).tolist(), abs=5.0)
    # Of the better ones there is no such thing.
    best = tuners.shrunken_scores(np.vstack([good, bad]), "max")
    assert best.spread > 10


def test_bad_settings_that_scatter_more_do_not_hide_how_sure_good_ones_are():
    rng = np.random.default_rng(5)
    truth = np.sort(0.1 * np.exp(3 * rng.random(40)))
    common, noise = rng.normal(size=5), rng.normal(size=(40, 5))
    # Folds and noise in parts of the score.
    scores = truth[:, None] * np.exp(0.1 * common + 0.1 * noise)
    found = tuners.shrunken_scores(scores, "min")
    (errors,) = columns(found, "standard_error")
    assert errors[0] == pytest.approx(0.1 * truth[0] / np.sqrt(5), rel=0.5)
    assert errors[-1] == pytest.approx(0.1 * truth[-1] / np.sqrt(5), rel=0.6)
    assert (np.diff(errors) >= 0).all()
    order = rng.permutation(40)
    (other,) = columns(tuners.shrunken_scores(-scores[order], "max"), "standard_error")
    np.testing.assert_allclose(other, errors[order])


def test_the_error_of_the_best_is_right_where_noise_grows_with_the_score():
    rng, off, errors = np.random.default_rng(6), [], []
    for _ in range(300):
        truth = 0.06 * np.exp(np.where(rng.random(60) < 0.5, 0.1, 3.0) * rng.random(60))
        common, noise = rng.normal(size=4), rng.normal(size=(60, 4))
        scores = truth[:, None] * (1 + 0.1 * common + 0.1 * noise)
        found = tuners.shrunken_scores(scores, "min")
        best = found.best()
        off.append(found[best].shrunken - truth[best])
        errors.append(found[best].shrunken_error)
    deviation = np.sqrt(np.mean(np.square(off)))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(deviation, rel=0.25)


def test_no_differences_but_noise_leave_the_means_to_decide():
    scores = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.1, 2.0, 2.0]]
    found = tuners.shrunken_scores(scores, "max")
    assert found.spread == 0
    assert len({row.shrunken for row in found.rows}) == 1
    assert found.best() == 2
    assert tuners.shrunken_scores(scores, "min").best() == 0


def test_equal_means_are_as_sure_as_their_noise_is_small():
    found = tuners.shrunken_scores([[-1, 3, 4, -1], [0, 4, -1, 2], [1, 1, 2, 1]], "max")
    assert [row.shrunken for row in found.rows] == pytest.approx([1.25] * 3)
    assert found.difference_error(0, 1) == pytest.approx(0.0, abs=1e-9)
    assert found.rows[0].shrunken_error < found.noise


def test_scores_without_noise_stay_as_they_are():
    scores = np.array([1.0, 2.0, 4.0, 3.0])[:, None] + np.array([0.0, 5.0, 1.0])
    found = tuners.shrunken_scores(scores, "max")
    means, shrunken = columns(found, "mean", "shrunken")
    np.testing.assert_allclose(shrunken, means)
    assert found.noise == pytest.approx(0.0, abs=1e-12)


def test_equal_scores_give_that_score():
    found = tuners.shrunken_scores(np.full((5, 3), 0.7), "max")
    assert [row.shrunken for row in found.rows] == pytest.approx([0.7] * 5)
    assert [row.shrunken_error for row in found.rows] == pytest.approx([0.0] * 5)
    assert found.best("one_standard_error", complexity=[3, 2, 1, 2, 3]) == 2


@pytest.mark.parametrize(
    "scores", [[[1.0], [3.0]], [[1.0, np.nan], [np.nan, 3.0]], [[1.0, np.nan], [3.0, np.nan]]]
)
def test_where_nothing_tells_of_noise_means_are_left(scores):
    found = tuners.shrunken_scores(scores, "max")
    assert [row.shrunken for row in found.rows] == [1.0, 3.0]
    assert np.isnan([found.noise, found.rows[0].standard_error, found.rows[0].shrunken_error]).all()
    assert found.best() == 1
    assert found.best("one_standard_error", [1, 2]) == 1


def test_one_setting_has_its_mean():
    found = tuners.shrunken_scores([[1.0, 2.0, 6.0]], "max")
    assert found.rows[0].shrunken == 3.0
    # What folds differ by is no noise of the setting.
    assert found.rows[0].shrunken_error == pytest.approx(np.std([1, 2, 6], ddof=1) / np.sqrt(3))


def test_a_setting_without_scores_is_never_chosen():
    found = tuners.shrunken_scores([[np.nan, np.nan], [1.0, 2.0], [3.0, 3.0]], "min")
    assert found.rows[0].measured == 0
    assert np.isnan(found.rows[0].mean)
    assert found.best() == 1
    assert 0 not in found.ranking()
    with pytest.raises(ValueError, match="`scores` must have a number"):
        tuners.shrunken_scores([[np.nan]], "min").best()


tables = arrays.arrays(
    "float64",
    st.tuples(st.integers(1, 6), st.integers(1, 4)),
    elements=st.one_of(st.integers(-50, 50).map(float), st.just(np.nan)),
)


@settings(max_examples=60, deadline=None)
@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_settings_and_folds_does_not_matter(table, random):
    rows, cols = (random.sample(range(size), size) for size in table.shape)
    found = tuners.shrunken_scores(table, "max")
    other = tuners.shrunken_scores(table[rows][:, cols], "max")
    for name in ("shrunken", "shrunken_error", "standard_error"):
        one, two = columns(found, name)[0], columns(other, name)[0]
        np.testing.assert_allclose(two, one[rows], rtol=1e-6, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(tables, st.sampled_from([0.01, 3.0, 1000.0]), st.integers(-100, 100))
def test_other_units_give_the_same_scores_in_these_units(table, scale, shift):
    found = tuners.shrunken_scores(table, "max")
    other = tuners.shrunken_scores(-scale * table + shift, "min")
    shrunken, errors = columns(found, "shrunken", "shrunken_error")
    of_other, its_errors = columns(other, "shrunken", "shrunken_error")
    np.testing.assert_allclose(of_other, -scale * shrunken + shift, rtol=1e-6, atol=1e-4 * scale)
    np.testing.assert_allclose(its_errors, scale * errors, rtol=1e-6, atol=1e-4 * scale)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays("float64", (5, 3), elements=st.integers(-9, 9).map(float)))
def test_shrunken_scores_lie_between_their_means_and_the_mean_of_all(table):
    means, shrunken = columns(tuners.shrunken_scores(table, "max"), "mean", "shrunken")
    good = means >= np.median(means)  # Far worse ones stay as they are.
    middle = np.clip(shrunken, shrunken.min(), shrunken.max())
    assert (np.diff(shrunken[np.argsort(means, kind="stable")]) >= -1e-9).all()
    assert shrunken.max() <= means.max() + 1e-9
    assert np.ptp(middle[good]) <= np.ptp(means[good]) + 1e-9


# Settings, folds, their spread, what folds have in common.
REGIMES = {
    "few settings that differ": (10, 5, 1.0, 1.0),
    "few settings, far apart": (10, 5, 3.0, 0.0),
    "many settings that hardly differ": (100, 5, 0.3, 1.0),
    "many settings, two folds": (100, 2, 0.5, 3.0),
    "many settings that differ": (100, 5, 1.0, 0.0),
    "little noise": (100, 5, 10.0, 1.0),
}


def biases(count, folds, spread, of_folds, searches=500):
    """How much too good a score the best of a search has: its mean, and what is reported."""
    rng, naive, reported, errors = np.random.default_rng(7), [], [], []
    for _ in range(searches):
        truth, scores = draw(rng, count, folds, spread, of_folds=of_folds)
        found = tuners.shrunken_scores(scores, "max")
        best = found.best()
        naive.append(found[best].mean - truth[best])
        reported.append(found[best].shrunken - truth[best])
        errors.append(found[best].shrunken_error)
    return np.array(naive), np.array(reported), np.array(errors)


def error_of_mean(values):
    return values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.short(
    "many settings that differ",
    "many settings, two folds",
    "few settings that differ",
    "few settings, far apart",
)
@pytest.mark.parametrize("regime", REGIMES)
def test_the_reported_score_of_the_best_has_no_bias_where_its_mean_has_a_large_one(regime):
    naive, reported, errors = biases(*REGIMES[regime])
    assert abs(reported.mean()) < 3 * error_of_mean(reported)
    assert naive.mean() > 4 * error_of_mean(naive) or regime == "little noise"
    assert abs(reported.mean()) < max(0.1 * naive.mean(), 2 * error_of_mean(reported))
    assert np.sqrt((reported**2).mean()) < 2 * np.sqrt((errors**2).mean())


def test_leading_settings_that_are_measured_again_have_no_bias_and_are_better():
    rng, reported, before, after = np.random.default_rng(8), [], [], []
    for _ in range(500):
        truth, scores = draw(rng, 50, 4, spread=0.5)
        found = tuners.shrunken_scores(scores, "max")
        leading = found.ranking()[:5]
        again = np.full(scores.shape, np.nan)
        again[leading] = truth[leading][:, None] + rng.normal(size=4) + rng.normal(size=(5, 4))
        both = tuners.shrunken_scores(np.hstack([scores, again]), "max")
        best = both.best()
        reported.append(both[best].shrunken - truth[best])
        before.append(truth.max() - truth[found.best()])
        after.append(truth.max() - truth[best])
    assert abs(np.mean(reported)) < 3 * error_of_mean(np.array(reported))
    assert np.mean(after) < 0.85 * np.mean(before)


@pytest.mark.parametrize("count", [10, 100])
def test_equal_settings_keep_a_small_part_of_the_bias(count):
    # A spread that is estimated to be below zero is taken for zero.
    naive, reported, errors = biases(count, 5, 0.0, 1.0)
    assert naive.mean() > errors.mean()
    assert 0 < reported.mean() < 0.25 * naive.mean()
    assert reported.mean() < 0.5 * errors.mean()


def test_the_simplest_within_the_noise_is_chosen():
    scores = np.array(
        [
            [0.90, 0.80, 0.85, 0.86],
            [0.91, 0.80, 0.84, 0.87],
            [0.90, 0.81, 0.85, 0.85],
            [0.60, 0.50, 0.55, 0.56],
        ]
    )
    found = tuners.shrunken_scores(scores, "max")
    assert found.best("one_standard_error", [30, 40, 20, 1]) == 2
    assert found.best("one_standard_error", [30, 40, 20, 20]) == 2
    # By its error, and by no more.
    far = tuners.shrunken_scores(scores + np.array([[0.0], [0.1], [0.0], [0.0]]), "max")
    assert far.best("one_standard_error", [30, 40, 20, 1]) == 1
    # Folds that are harder for all are no noise.
    spread_out = tuners.shrunken_scores(scores + np.array([0.0, 5.0, -5.0, 1.0]), "max")
    assert spread_out.difference_error(0, 3) == pytest.approx(found.difference_error(0, 3))
    assert spread_out.best("one_standard_error", [30, 40, 20, 1]) == 2


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: tuners.shrunken_scores([1.0, 2.0], "max"), "`scores`"),
        (lambda: tuners.shrunken_scores([["a"]], "max"), "`scores`"),
        (lambda: tuners.shrunken_scores(np.zeros((0, 2)), "max"), "`scores`"),
        (lambda: tuners.shrunken_scores([[np.inf, 1.0]], "max"), "`scores`"),
        (lambda: tuners.shrunken_scores([[1.0], [2.0, 3.0]], "max"), "`scores`"),
        (lambda: tuners.shrunken_scores([[1.0]], "maximum"), "`mode`"),
        (lambda: tuners.shrunken_scores([[1.0]], "max", settings=["a", "b"]), "`settings`"),
        (lambda: tuners.shrunken_scores([[1.0]], "max").best("first"), "`rule`"),
        (lambda: tuners.shrunken_scores([[1.0]], "max").best("one_standard_error"), "`complexity`"),
        (
            lambda: tuners.shrunken_scores([[1.0]], "max").best("one_standard_error", [np.nan]),
            "`complexity`",
        ),
    ],
)
def test_bad_input_is_named(make, names):
    with pytest.raises(ValueError, match=names):
        make()


class Measured(keras_tuner.RandomSearch):
    """A tuner whose trials score as it is told, in each fold of each execution."""

    def __init__(self, scores, folds, executions, folder):
        self.folds = folds
        super().__init__(
            max_trials=len(scores),
            objective=keras_tuner.Objective("val_score", "max"),
            seed=1,
            directory=folder,
            executions_per_trial=executions,
            hypermodel=lambda hp: None,
        )
        self.oracle.verbose = 0
        for of_trial in scores:
            trial = self.oracle.create_trial("")
            for value in of_trial:
                self.oracle.update_trial(trial.trial_id, {"val_score": value, "size": 2 * value})
            trial.status = "COMPLETED"
            self.oracle.end_trial(trial)

    def _populate_initial_space(self):
        hp = self.oracle.get_space()
        hp.Int("units", 1, 1000)
        hp.Choice("kind", ["a", "b"])
        self.oracle.update_space(hp)


def test_trials_are_chosen_by_the_scores_of_their_folds(tmp_path):
    rng = np.random.default_rng(5)
    _, scores = draw(rng, 6, 3, spread=1.0)
    tuner = Measured(scores, 3, 1, tmp_path)
    selection = select_trial(tuner)
    expected = tuners.shrunken_scores(scores, "max")
    assert selection.score == pytest.approx(expected[expected.best()].shrunken)
    assert selection.standard_error == pytest.approx(expected[expected.best()].shrunken_error)
    assert selection.trial.trial_id == f"{expected.best()}"
    assert [row.setting for row in selection.rows] == [f"{i}" for i in expected.ranking()]
    assert f"trial {selection.trial.trial_id} by" in str(selection)
    units = [tuner.oracle.trials[f"{i}"].hyperparameters.get("units") for i in range(6)]
    smallest = select_trial(tuner, "one_standard_error", "units")
    assert smallest.trial.trial_id == f"{expected.best('one_standard_error', units)}"
    largest = select_trial(
        tuner, "one_standard_error", lambda trial: -trial.hyperparameters.get("units")
    )
    negative = [-number for number in units]
    assert largest.trial.trial_id == f"{expected.best('one_standard_error', negative)}"


def test_executions_of_a_fold_count_as_one_score(tmp_path):
    _, scores = draw(np.random.default_rng(6), 4, 3, spread=1.0)
    again = np.concatenate([scores - 0.5, scores + 0.5], axis=1)
    tuner = Measured(again, 3, 2, tmp_path)
    selection = select_trial(tuner)
    expected = tuners.shrunken_scores(scores, "max")
    assert selection.scores.noise == pytest.approx(expected.noise)
    assert selection.rows[0].measured == 3


def test_trials_without_a_finite_score_are_not_compared(tmp_path):
    tuner = Measured([[1.0, 2.0], [np.nan, 9.0], [0.0, 1.5]], 2, 1, tmp_path)
    assert [row.setting for row in select_trial(tuner).rows] == ["0", "2"]


# Noise explains all differences; by the mean "0" is best.
ALIKE = [[4.0, 5.0, 4.6], [4.4, 4.6, 4.5], [4.5, 4.9, 4.0], [4.1, 4.6, 4.5]]


def test_folds_that_are_harder_do_not_make_a_setting_worse_than_those_that_did_not_have_them():
    nothing = np.full(3, np.nan)
    again = [[1.0, 2.0, 1.4], nothing, [1.1, 1.6, 1.9], nothing]
    found = tuners.shrunken_scores(np.hstack([ALIKE, again]), "max")
    assert found.spread == 0
    # In these folds "2" is better than "0" by 0.2 / 3; in those of all it is worse by 0.2 / 3.
    # "1" is where they are together, in those of all, and "3" is worse than "1" by 0.3 / 3.
    assert found.adjusted - found.adjusted[0] == pytest.approx([0, 0, 0, -0.1])
    assert np.argmax([row.mean for row in found.rows]) == 1
    assert found.ranking() == [0, 1, 2, 3]
    complete = tuners.shrunken_scores(ALIKE, "max")
    np.testing.assert_allclose(complete.adjusted, np.mean(ALIKE, axis=1))


def test_the_choice_after_confirmation_is_one_of_those_that_were_confirmed(tmp_path):
    tuner = Measured(ALIKE, 3, 1, tmp_path)
    assert select_trial(tuner).trial.trial_id == "0"
    again = {"3": [3.0, 3.6, 3.1], "1": [3.3, 3.4, 3.7]}
    found = select_trial(tuner, again=again)
    # There is one with a better score, which nobody has tried again.
    assert found.rows[0].setting == "0"
    assert (found.trial.trial_id, found.confirmed) == ("1", ("1", "3"))
    assert found.confirmed_score == pytest.approx(np.mean(again["1"]))
    size = {f"{i}": value for i, value in enumerate([0.0, 2.0, 0.0, 1.0])}
    simplest = select_trial(tuner, "one_standard_error", lambda of: size[of.trial_id], again)
    assert simplest.trial.trial_id == "3"


def test_a_trial_that_diverges_when_it_is_trained_again_is_not_confirmed(tmp_path):
    tuner = Measured(ALIKE, 3, 1, tmp_path)
    found = select_trial(tuner, again={"0": [9.0, np.nan, 9.0], "1": [0.3, 1.0, 0.7]})
    assert (found.trial.trial_id, found.confirmed) == ("1", ("1",))
    found = select_trial(tuner, again={"0": [np.nan, np.nan, np.nan]})
    assert (found.trial.trial_id, found.confirmed) == ("0", ())
    assert found.confirmed_score is None


def test_a_setting_is_chosen_among_some(tmp_path):
    found = tuners.shrunken_scores(ALIKE, "max")
    assert found.best(among=[3, 1]) == 1
    assert found.best("one_standard_error", [1, 9, 5, 7], among=[1, 3]) == 3
    with pytest.raises(ValueError, match="`scores` must have a number for one setting"):
        found.best(among=[])


def test_the_trial_that_a_rule_chooses_is_among_those_that_are_trained_again(tmp_path):
    tuner = Measured([[3.0, 4.1, 5.0], [3.1, 4.0, 5.0], [3.0, 4.0, 5.1]], 3, 1, tmp_path)
    best = select_trial(tuner)
    last = best.rows[-1].setting
    simplest = select_trial(tuner, "one_standard_error", lambda of: of.trial_id != last)
    assert simplest.trial.trial_id == last
    names = [[one.trial_id for one in leading_trials(tuner, simplest, k)] for k in (1, 2, 3)]
    order = [row.setting for row in best.rows]
    assert names == [[last], [order[0], last], order]
    assert [one.trial_id for one in leading_trials(tuner, best, 2)] == order[:2]


@pytest.mark.parametrize("complexity", [None, "kind", "no such", lambda trial: "many", 3])
def test_a_complexity_that_is_no_number_is_refused(complexity, tmp_path):
    tuner = Measured([[1.0, 2.0], [2.0, 9.0]], 2, 1, tmp_path)
    with pytest.raises(ValueError, match="`complexity` must be"):
        select_trial(tuner, "one_standard_error", complexity)
    assert select_trial(tuner, "one_standard_error", "size").trial.trial_id


def test_a_search_without_completed_trials_has_none_to_choose(tmp_path):
    with pytest.raises(ValueError, match="`tuner` must have a completed trial"):
        select_trial(Measured([[np.nan]], None, 1, tmp_path))


def test_the_tuner_chooses_by_the_same_function(searched):
    selection = searched.tuner.select()
    best = searched.tuner.oracle.get_best_trials()[0]
    # Of a single training there is nothing to shrink.
    assert selection.trial.trial_id == best.trial_id
    assert selection.score == pytest.approx(best.score)


class TestConfirm:
    """The leading trials are trained again."""

    pytestmark = pytest.mark.shares_programs

    def search(self, build, folder, blobs, **arguments):
        tuner = tuners.VectorizedRandomSearch(
            build, "val_loss", max_trials=5, seed=5, directory=folder, **arguments
        )
        x, y, validation_data = blobs
        given = {} if tuner.folds else {"validation_data": validation_data}
        tuner.search(x, y, epochs=2, batch_size=16, verbose=0, **given)
        return tuner

    def test_new_folds_of_the_leading_ones_join_those_of_the_search(self, build, blobs, tmp_path):
        tuner = self.search(build, tmp_path, blobs, folds=3)
        before = tuner.select()
        leading = [row.setting for row in before.rows[:2]]
        found = tuner.confirm(leading=2)
        measured = {row.setting: row.measured for row in found.rows}
        assert measured == {of: 6 if of in leading else 3 for of in tuner.oracle.trials}
        scores = {row.setting: row.mean for row in found.rows}
        for row in before.rows[2:]:
            assert scores[row.setting] == pytest.approx(row.mean)
        # Other folds give other scores.
        first = tuner.oracle.trials[leading[0]]
        again = 2 * scores[leading[0]] - first.score
        assert again != pytest.approx(first.score, rel=1e-6)
        assert again == pytest.approx(first.score, rel=0.5)
        assert found.trial.trial_id in leading
        if found.trial.trial_id == leading[0]:
            assert found.confirmed_score == pytest.approx(again)
        assert found.search_score == found.trial.score
        assert set(found.confirmed) == set(leading)
        assert "trained again; chosen of the 2 that were" in str(found)
        # The search is as it was.
        assert len(tuner.oracle.trials) == 5
        assert tuner.select().score == before.score

    def test_a_second_call_trains_nothing(self, build, blobs, tmp_path, trainings):
        tuner = self.search(build, tmp_path, blobs, folds=2)
        found = tuner.confirm(leading=2)
        trained = len(trainings)
        assert tuner.confirm(leading=2).score == found.score
        assert len(trainings) == trained
        assert tuner.confirm(leading=2, seed=77).score != found.score
        assert len(trainings) == trained + 1

    def test_without_folds_random_numbers_are_new(self, build, blobs, tmp_path):
        tuner = self.search(build, tmp_path, blobs)
        found = tuner.confirm(leading=3, executions=2)
        assert sorted(row.measured for row in found.rows) == [1, 1, 3, 3, 3]
        assert np.isfinite(found.standard_error)

    def test_where_none_can_be_trained_again_the_search_chooses_and_that_is_said(
        self, build, blobs, tmp_path
    ):
        tuner = self.search(build, tmp_path, blobs, folds=2)
        x, y, _ = blobs
        with pytest.warns(UserWarning, match="None of the 2 leading trials could be trained again"):
            found = tuner.confirm(x[:, :1], y, leading=2, epochs=1, batch_size=16, verbose=0)
        assert (found.confirmed, found.confirmed_score) == ((), None)
        assert found.trial.trial_id == tuner.select().trial.trial_id

    def test_a_resumed_project_needs_the_data(self, build, blobs, tmp_path):
        self.search(build, tmp_path, blobs, folds=2)
        resumed = tuners.VectorizedRandomSearch(
            build, "val_loss", max_trials=5, seed=5, directory=tmp_path, folds=2
        )
        with pytest.raises(ValueError, match="`fit_args` must be the data"):
            resumed.confirm()
        x, y, _ = blobs
        found = resumed.confirm(x, y, leading=1, epochs=2, batch_size=16, verbose=0)
        assert max(row.measured for row in found.rows) == 4

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            ({"leading": 0}, "`leading`"),
            ({"executions": 0}, "`executions`"),
            ({"seed": -1}, "`seed`"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, named, searched):
        with pytest.raises(ValueError, match=named):
            searched.tuner.confirm(**arguments)

    def test_trials_that_go_on_with_others_are_refused(self, build, tmp_path):
        population = tuners.PopulationBasedTraining(build, "val_loss", 4, directory=tmp_path / "a")
        hyperband = tuners.VectorizedHyperband(build, "val_loss", directory=tmp_path / "b")
        for tuner in (population, hyperband):
            with pytest.raises(ValueError, match="`confirm` trains trials as"):
                tuner.confirm()
