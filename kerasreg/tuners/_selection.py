"""Which setting of a search is the best one, when scores are noisy: means are shrunken."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from kerasreg._report import Report
from kerasreg._text_table import table as text_table
from kerasreg._validation import check_choice
from kerasreg.tuners._run_search import completed_trials
from kerasreg.tuners._standard_error import scores_of_folds, values_of

RULES = ("best", "one_standard_error")
# Settings worse than most by more of their standard deviations tell nothing of good ones.
_FAR = 3.0
# Of fewer settings that are better than the median, their deviation is not known.
_FEWEST = 3
# Of fewer settings it is not known how much their noise differs from that of others.
_FEWEST_ALIKE = 5
# So many standard errors are clear.
_CLEARLY = 3.0
_LEAST_WEIGHT = 1e-4
# So many trials are in the text of a selection.
_SHOWN = 10


class SettingScore(NamedTuple):
    """The scores of one setting, such as a trial.

    Attributes:
        setting: the name of the setting.
        measured: how many scores it has.
        mean: the mean of the scores; NaN of no scores.
        standard_error: the standard error of the mean, without what all settings of a fold have in
            common. NaN where no scores tell of the noise.
        shrunken: the mean, shrunken toward the mean of all settings: an estimate of the score that
            the setting would have over many folds, also of the best of many settings.
        shrunken_error: the standard error of `shrunken`, folds included.
    """

    setting: Any
    measured: int
    mean: float
    standard_error: float
    shrunken: float
    shrunken_error: float


@dataclasses.dataclass(frozen=True)
class ShrunkenScores(Report):
    """Scores of settings that share folds; `str` of it is a table of the settings.

    Attributes:
        rows: a `SettingScore` for each setting.
        mode: whether a small or a large score is good: `"min"` or `"max"`.
        noise: the standard deviation of one score around what its setting and its fold explain;
            NaN where no scores tell.
        spread: the standard deviation of the settings without noise; 0 where noise explains all
            differences, infinite where no scores tell.
        covariance: an array of shape (settings, settings), which tells how sure differences between
            shrunken scores are.
        adjusted: for each setting the mean that it would have if all had all folds: of a setting
            that only hard folds measured, better than its mean. NaN without scores.
    """

    rows: tuple[SettingScore, ...]
    mode: str
    noise: float
    spread: float
    covariance: np.ndarray
    adjusted: np.ndarray

    objects: ClassVar[tuple[str, ...]] = ("covariance", "adjusted")
    empty = "no settings"

    def difference_error(self, one: int, other: int) -> float:
        """The standard error of the difference between two shrunken scores.

        The part of a score that all settings of a fold have in common is not in it. The error is
        smaller than those of the two scores suggest.

        Args:
            one: the index of a setting.
            other: the index of another one.
        """
        parts = self.covariance
        variance = parts[one, one] + parts[other, other] - 2 * parts[one, other]
        return float(np.sqrt(max(0.0, variance))) if np.isfinite(variance) else float("nan")

    def ranking(self) -> list[int]:
        """The indices of the settings with scores, by their shrunken scores, the best first.

        Where noise explains all differences, shrunken scores are equal, and adjusted means decide.
        """
        sign = 1.0 if self.mode == "min" else -1.0
        known = [index for index, row in enumerate(self.rows) if row.measured]
        return sorted(known, key=lambda i: (sign * self.rows[i].shrunken, sign * self.adjusted[i]))

    def best(
        self,
        rule: str = "best",
        complexity: Sequence[float] | None = None,
        among: Sequence[int] | None = None,
    ) -> int:
        """Chooses a setting.

        Args:
            rule: `"best"` for the best shrunken score, or `"one_standard_error"` for the least
                complex of the settings whose difference from the best one is at most the standard
                error of the difference.
            complexity: for the latter rule a number for each setting, such as its weights that
                are not zero. Of equal ones the better score decides.
            among: the indices of the settings to choose from; None for all.

        Returns:
            The index of the setting.

        Raises:
            ValueError: if no setting to choose from has a score, `rule` is none of the words, or
                `complexity` is not a finite number for each setting.

        Example:

        >>> import kerasreg
        >>> scores = kerasreg.tuners.shrunken_scores(
        ...     [[0.2, 0.3, 0.1], [0.1, 0.3, 0.2], [0.9, 0.7, 0.8]], mode="min")
        >>> scores.best(), scores.best("one_standard_error", complexity=[9, 5, 1])
        (0, 1)
        """
        check_choice("rule", rule, RULES)
        order = [index for index in self.ranking() if among is None or index in among]
        if not order:
            raise ValueError("`scores` must have a number for one setting at least. Received: none")
        best = order[0]
        if rule == "best":
            return best
        numbers = _checked_complexity(complexity, len(self.rows))

        def is_near(index: int) -> bool:
            distance = abs(self.rows[index].shrunken - self.rows[best].shrunken)
            return index == best or distance <= self.difference_error(index, best)

        # `min` takes the first of equal ones, which has the better score.
        return min(filter(is_near, order), key=lambda index: numbers[index])


def shrunken_scores(
    scores: Any, mode: Literal["min", "max"], settings: Sequence[Any] | None = None
) -> ShrunkenScores:
    """Estimates the scores that settings would have over many folds, of which a few were measured.

    The best of many noisy means looks better than it is. Shrunken toward the mean of all settings,
    by as much as noise explains of the differences, it does not, however many settings there are.

    A score is modelled as `setting + fold + noise`. Settings are normal with one variance, the
    squared spread; folds are what they are; noise is normal with one variance. Least squares give
    the noise. The squared spread `s` solves `Σ dₖ² / (s + vₖ) = m − 1`, for the `m` independent
    differences `dₖ` of settings, which have the variances `vₖ` by noise. Paule and Mandel (1982)
    have `m` in place of `m − 1`. With `m − 1`, the score of the best of normal settings has no bias
    where scores are complete and noise does not explain all: `E[χₘ] / E[1/χₘ] = m − 1`. The
    shrunken scores are the best linear predictions of settings (Henderson 1975). Of complete scores
    they are `mean + s / (s + v) (mean of the setting − mean)`.

    Losses of bad settings often scatter more than those of good ones. Where the worse half of
    settings scatters clearly more than the better half, of at least ten settings by at least three
    standard errors of the logarithm of the ratio, it has a noise of its own; and so on within the
    better half. `noise` is that of the best ones; the others count for less.

    Settings that are far worse than most tell nothing of how good ones differ, and are left as they
    are: those worse than the median by more than three standard deviations of the better half, if
    that has three settings at least.

    Folds share training samples, so that the errors are too small rather than too large (Bengio
    and Grandvalet 2004). Scores of one holdout tell nothing of other samples.

    Args:
        scores: an array of shape (settings, folds). Repeats of folds are more columns. NaN stands
            for a score that was not measured.
        mode: whether a small or a large score is good: `"min"` or `"max"`.
        settings: the names of the settings, by default their numbers.

    Returns:
        A `ShrunkenScores`. Where scores tell nothing of noise, as those of one fold, or of the
        spread, as those of two settings, shrunken scores are the means. Where settings have no
        folds in common, folds count as noise.

    Raises:
        ValueError: if `scores` is not such an array, a score is infinite, or `mode` is none of the
            words.

    Example:

    Two folds, of which the second is harder, and settings that differ by little else than noise:

    >>> import kerasreg
    >>> scores = kerasreg.tuners.shrunken_scores(
    ...     [[0.90, 0.80], [0.93, 0.81], [0.89, 0.82], [0.91, 0.80]], mode="max")
    >>> print(scores)
    setting  measured   mean  standard_error  shrunken  shrunken_error
          0         2   0.85          0.0108     0.858          0.0508
          1         2   0.87          0.0108     0.858          0.0523
          2         2  0.855          0.0108     0.858          0.0501
          3         2  0.855          0.0108     0.858          0.0501
    >>> scores.best()
    1
    """
    table = _checked_scores(scores)
    check_choice("mode", mode, ("min", "max"))
    names = list(range(len(table))) if settings is None else list(settings)
    if len(names) != len(table):
        raise ValueError(
            f"`settings` must be as many as the {len(table)} rows of `scores`. Received: {names}"
        )
    measured = np.isfinite(table)
    rows = measured.any(axis=1)
    columns = np.full((len(table), 4), np.nan)
    covariance = np.full((len(table), len(table)), np.nan)
    adjusted = np.full(len(table), np.nan)
    noise, spread = np.nan, np.inf
    if rows.any():
        fitted = _fitted(table[rows], mode)
        noise, spread = float(np.sqrt(fitted.noise)), float(np.sqrt(fitted.spread))
        means = np.nanmean(table[rows], axis=1)
        columns[rows] = np.stack([means, fitted.errors, fitted.shrunken, fitted.total_errors], 1)
        covariance[np.ix_(rows, rows)] = fitted.covariance
        # Without the last digits, in which equal means would differ.
        unit = 1e-9 * (np.ptp(fitted.settings) or 1.0)
        adjusted[rows] = fitted.level + unit * np.round(fitted.settings / unit)
    counts = measured.sum(axis=1).tolist()
    found = zip(names, counts, columns.tolist(), strict=True)
    every = tuple(SettingScore(name, count, *numbers) for name, count, numbers in found)
    return ShrunkenScores(every, mode, noise, spread, covariance, adjusted)


@dataclasses.dataclass(frozen=True)
class Selection(Report):
    """The trial that was chosen among those of a search; `str` of it is a table.

    Attributes:
        rows: a `SettingScore` for each completed trial with a finite score, the best one first.
        trial: the chosen KerasTuner trial.
        rule: the rule by which it was chosen.
        score: its shrunken score, an estimate of its score with new folds.
        standard_error: the standard error of `score`.
        search_score: its score in the search, which is too good for the best of many.
        confirmed_score: its mean score when it was trained again; None if it was not, as no trial
            was.
        scores: the `ShrunkenScores` of the trials.
        confirmed: the ids of the trials that were trained again, of which one was chosen.
    """

    rows: tuple[SettingScore, ...]
    trial: Any
    rule: str
    score: float
    standard_error: float
    search_score: float
    confirmed_score: float | None
    scores: ShrunkenScores
    confirmed: tuple[str, ...] = ()

    objects: ClassVar[tuple[str, ...]] = ("trial", "scores")

    def __str__(self) -> str:
        titles = ("trial", "folds", "mean", "standard error", "shrunken", "its error")
        lines = [text_table(titles, self.rows[:_SHOWN])]
        if len(self.rows) > _SHOWN:
            lines.append(f"and {len(self.rows) - _SHOWN} others")
        error = "" if np.isnan(self.standard_error) else f" ± {self.standard_error:.2g}"
        lines.append(f'trial {self.trial.trial_id} by rule="{self.rule}": {self.score:.4g}{error}')
        if self.confirmed_score is not None:
            lines.append(
                f"{self.search_score:.4g} in the search, {self.confirmed_score:.4g} trained again; "
                f"chosen of the {len(self.confirmed)} that were"
            )
        return "\n".join(lines)


def select_trial(
    tuner: Any,
    rule: str = "best",
    complexity: str | Callable[[Any], float] | None = None,
    again: Mapping[str, Sequence[float]] | None = None,
) -> Selection:
    """Chooses a trial of a search: `VectorizedTuner.select` says how.

    Args:
        tuner: the tuner.
        rule: as for `ShrunkenScores.best`.
        complexity: a function of a trial, or the name of a hyperparameter or a metric.
        again: by the ids of trials the scores, in folds of their own, of those that were trained
            again. One of these is chosen, if there are some.

    Returns:
        A `Selection`.

    Raises:
        ValueError: if an argument is none of these, or no trial is completed.
    """
    check_choice("rule", rule, RULES)
    trials, objective = completed_trials(tuner), tuner.oracle.objective
    if not trials:
        raise ValueError(
            "`tuner` must have a completed trial with a finite score. Received: "
            f"{len(tuner.oracle.trials)} trials, of which none is"
        )
    numbers = None
    if rule != "best":
        numbers = [_complexity_of(trial, complexity) for trial in trials]
    again = again or {}
    values = np.hstack(
        [
            _columns([scores_of_folds(tuner, trial, objective.name) for trial in trials]),
            _columns([again.get(trial.trial_id, ()) for trial in trials]),
        ]
    )
    ids = [trial.trial_id for trial in trials]
    scores = shrunken_scores(values, objective.direction, ids)
    # One that did badly the second time may fall behind others, whose luck nobody has tried: a
    # trial that was not trained again is not chosen, though its score may be the best one.
    confirmed = [
        index for index, one in enumerate(ids) if np.isfinite(again.get(one, np.nan)).all()
    ]
    chosen = scores.best(rule, numbers, confirmed or None)
    rows = tuple(scores.rows[index] for index in scores.ranking())
    found = scores.rows[chosen]
    trial = trials[chosen]
    return Selection(
        rows,
        trial,
        rule,
        found.shrunken,
        found.shrunken_error,
        float(trial.score),
        float(np.mean(again[trial.trial_id])) if confirmed else None,
        scores,
        tuple(ids[index] for index in confirmed),
    )


def _columns(each: Sequence[Sequence[float]]) -> np.ndarray:
    """The scores of trials as rows of one length; NaN for what is missing or not finite."""
    values = np.full((len(each), max(map(len, each))), np.nan)
    for row, scores in zip(values, each, strict=True):
        row[: len(scores)] = scores
    values[~np.isfinite(values)] = np.nan
    return values


def _complexity_of(trial: Any, complexity: str | Callable[[Any], float] | None) -> float:
    found: Any = None
    if callable(complexity):
        found = complexity(trial)
    elif isinstance(complexity, str):
        if complexity in trial.hyperparameters.values:
            found = trial.hyperparameters.values[complexity]
        elif trial.metrics.exists(complexity):
            found = np.mean(values_of(trial, complexity))
    try:
        return float(found)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`complexity` must be a function of a trial that returns a number, or the name of a "
            "hyperparameter or a metric that is a number in each trial. Received: "
            f"complexity={complexity!r}, which gives {found!r} for trial {trial.trial_id}"
        ) from error


class _Fitted(NamedTuple):
    """Settings and folds that are fitted to scores.

    Attributes:
        noise: the variance of one score; NaN where no scores tell.
        spread: the variance of settings; infinite where no scores tell.
        free: the degrees of freedom of the noise.
        folds: of each fold, the mean of all settings.
        settings: of each setting, by least squares, its difference from the mean of all.
        errors: of each setting, the standard error of its mean beside those of others.
        level: the mean of all settings over folds.
        level_variance: how sure that is.
        shrunken: of each setting, its shrunken score.
        total_errors: of each setting, the standard error of that, folds included.
        covariance: of the shrunken differences of settings from their mean.
    """

    noise: float
    spread: float
    free: int
    folds: np.ndarray
    settings: np.ndarray
    errors: np.ndarray
    level: float
    level_variance: float
    shrunken: np.ndarray
    total_errors: np.ndarray
    covariance: np.ndarray


def _fitted(table: np.ndarray, mode: str) -> _Fitted:
    """Fits good settings; those that are far worse stay as they are."""
    equal = _fit(table, np.ones(len(table)))
    weights = _weights(table, equal.settings, _good(equal, mode), mode)
    every = _fit(table, weights)
    good = _good(every, mode)
    if good.all():
        return every
    fitted = _fit(table[good], weights[good])
    of_all = every.settings - every.settings[good].mean()
    errors = np.sqrt(fitted.noise / weights / np.isfinite(table).sum(axis=1))
    shrunken = fitted.level + of_all
    shrunken[good] = fitted.shrunken
    covariance = np.diag(errors**2)
    covariance[np.ix_(good, good)] = fitted.covariance
    return fitted._replace(
        settings=of_all,
        errors=errors,
        shrunken=shrunken,
        total_errors=np.sqrt(np.diag(covariance) + fitted.level_variance),
        covariance=covariance,
    )


def _weights(table: np.ndarray, settings: np.ndarray, good: np.ndarray, mode: str) -> np.ndarray:
    """How little the scores of settings scatter, beside those of the best settings.

    Losses of bad settings often scatter more, and so would hide how sure those of good ones are.
    Settings are halved by their scores as long as the worse half scatters clearly more.

    Args:
        table: scores of settings.
        settings: how far each setting is from the mean of all.
        good: which settings are not far worse than most.
        mode: whether a small or a large score is good.

    Returns:
        For each setting the variance by noise of the best ones divided by its own, at most 1.
    """
    weights = np.ones(len(table))
    order = np.argsort(settings if mode == "min" else -settings, kind="stable")
    lead, noisy = order[good[order]], [order[~good[order]]] * (not good.all())
    while len(lead) >= 2 * _FEWEST_ALIKE:
        halves = lead[: len(lead) // 2], lead[len(lead) // 2 :]
        better, worse = (_fit(table[half], weights[half]) for half in halves)
        # Of the logarithm of a ratio of two variances.
        error = np.sqrt(2 / better.free + 2 / worse.free) if better.free and worse.free else np.inf
        if not worse.noise > better.noise * np.exp(_CLEARLY * error):
            break
        lead, noisy = halves[0], [*noisy, halves[1]]
    best = _fit(table[lead], weights[lead])
    if best.free:
        for group in noisy:
            rest = table[group] - best.folds
            rest -= np.nanmean(rest, axis=1, keepdims=True)
            free = np.isfinite(rest).sum() - len(group)
            noise = np.nansum(rest**2) / max(free, 1)
            weights[group] = np.clip(best.noise / noise if noise else 1.0, _LEAST_WEIGHT, 1.0)
    return weights


def _good(fitted: _Fitted, mode: str) -> np.ndarray:
    """Which settings are not far worse than most."""
    worse = fitted.settings if mode == "min" else -fitted.settings
    good = np.ones(len(worse), bool)
    if np.isnan(fitted.noise):
        return good
    while True:
        from_median = worse - np.median(worse[good])
        better = np.sort(from_median[good])[: good.sum() // 2]
        if better.size < _FEWEST:
            return good
        width = max(np.sqrt((better**2).mean()), fitted.errors.min())
        fewer = good & (from_median <= _FAR * width * (1 + 1e-9))  # Rounding decides nothing.
        if (fewer == good).all():
            return good
        good = fewer


def _fit(table: np.ndarray, weights: np.ndarray) -> _Fitted:
    """Fits settings and folds to scores, of which each setting has one at least.

    Args:
        table: the scores.
        weights: of each setting, what the noise is divided by in its scores.
    """
    known = np.isfinite(table).any(axis=0)
    table = table[:, known]
    measured = np.isfinite(table)
    center = table[measured].mean()  # Small numbers lose less in sums.
    scores = np.where(measured, table - center, 0.0)
    # How many scores a setting has of a fold, and their sum.
    counts, sums = measured * weights[:, None], scores * weights[:, None]
    values, differences = _differences(counts)
    if len(values) < len(table) - 1:  # Some settings have no fold in common with others.
        counts, sums = (of.sum(axis=1, keepdims=True) for of in (counts, sums))
        values, differences = _differences(counts)
    of_folds = counts.sum(axis=0)
    # By least squares, as independent differences: the variance of each is noise / value.
    sides = (sums - counts * (sums.sum(axis=0) / of_folds)).sum(axis=1)
    found = differences.T @ sides / values
    settings = differences @ found
    folds = (sums - counts * settings[:, None]).sum(axis=0) / of_folds
    rest = np.where(measured, scores - settings[:, None] - folds, 0.0)
    free = int(measured.sum() - len(table) - len(of_folds) + 1)
    noise = float((rest**2 * weights[:, None]).sum() / free) if free > 0 else np.nan
    variances = noise / values
    spread = _spread(found, variances)
    kept = _kept(spread, variances)
    moved = differences @ (kept * found)
    folds = (sums - counts * moved[:, None]).sum(axis=0) / of_folds
    # The spread is not known exactly either.
    slope = differences @ _slopes(found, variances, spread)
    covariance = differences * (variances * kept) @ differences.T + np.outer(slope, slope)
    level = float(center + folds.mean())
    of_level = folds.var(ddof=1) / len(folds) if len(folds) > 1 else noise / measured.sum()
    shrunken = level + moved
    if np.isnan(noise):
        shrunken = np.nanmean(table, axis=1)
    return _Fitted(
        noise,
        spread,
        max(free, 0),
        center + _in_all(folds, known),
        settings,
        np.sqrt(noise / weights / measured.sum(axis=1)),
        level,
        float(of_level),
        shrunken,
        np.sqrt(np.diag(covariance) + of_level),
        covariance,
    )


def _in_all(folds: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The effects of all folds: those without scores have the mean of the others."""
    found = np.full(len(known), folds.mean())
    if len(folds) == known.sum():
        found[known] = folds
    return found


def _differences(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The independent differences of settings that scores tell, when folds are eliminated.

    Args:
        counts: how many scores each setting has of each fold.

    Returns:
        How much the scores tell of each: its variance is that of the noise divided by the number;
        and the differences, as the columns of an array.
    """
    told = np.diag(counts.sum(axis=1)) - (counts / counts.sum(axis=0)) @ counts.T
    values, vectors = np.linalg.eigh(told)
    is_told = values > 1e-9 * max(1.0, counts.sum(axis=1).max())
    return values[is_told], vectors[:, is_told]


def _spread(found: np.ndarray, variances: np.ndarray) -> float:
    """The variance of settings that explains what differences noise does not."""
    wanted = len(found) - 1
    if wanted < 1 or np.isnan(variances).any():
        return np.inf
    squares = found**2
    if not (variances > 0).all():  # Without noise.
        return float(squares.sum() / wanted)
    spread = 0.0
    # The sum falls and is convex: from the left, Newton's method never goes too far.
    for _ in range(100):
        parts = squares / (spread + variances)
        more = (parts.sum() - wanted) / (parts / (spread + variances)).sum() if parts.any() else 0.0
        if more <= 1e-12 * spread:
            break
        spread += more
    return float(spread)


def _kept(spread: float, variances: np.ndarray) -> np.ndarray:
    """The part of each difference that is no noise."""
    if np.isinf(spread):
        return np.ones(len(variances))
    total = spread + variances
    return np.divide(spread, total, out=np.zeros_like(total), where=total > 0)


def _slopes(found: np.ndarray, variances: np.ndarray, spread: float) -> np.ndarray:
    """How far each difference moves if the spread moves by its standard error."""
    if np.isinf(spread) or not (variances > 0).all():
        return np.zeros(len(found))
    total = spread + variances
    # By Fisher's information, and larger as the equation of the spread has m - 1.
    error = len(found) / (len(found) - 1) * np.sqrt(2 / (1 / total**2).sum())
    return found * variances / total**2 * error


def _checked_scores(scores: Any) -> np.ndarray:
    try:
        table = np.asarray(scores, "float64")
    except (TypeError, ValueError):
        table = np.zeros(0)
    if table.ndim != 2 or table.size == 0 or np.isinf(table).any():
        raise ValueError(
            "`scores` must be an array of numbers of shape (settings, folds), with NaN for a score "
            f"that was not measured. Received: scores={scores!r}"
        )
    return table


def _checked_complexity(complexity: Sequence[float] | None, settings: int) -> list[float]:
    try:
        numbers = [] if complexity is None else [float(number) for number in complexity]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != settings or not np.isfinite(numbers).all():
        raise ValueError(
            f"`complexity` must be a finite number for each of {settings} settings. "
            f"Received: complexity={complexity!r}"
        )
    return numbers
