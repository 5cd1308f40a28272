"""Which trials of a search make the best ensemble, and what that scores."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np

from kerasreg._keras.internals import logged_metrics
from kerasreg._pictures import COLOURS, LINES, MARKERS, Look, drawn_to, grid
from kerasreg._report import Report
from kerasreg._scoring import Scorer, greedy_counts
from kerasreg._text_table import table as text_table
from kerasreg._validation import check_count
from kerasreg._warnings import warn
from kerasreg.models import Ensemble
from kerasreg.tuners._best_epochs import read_all
from kerasreg.tuners._out_of_fold import OutOfFold, as_outputs, models_of, probabilities_of
from kerasreg.tuners._standard_error import values_of

# The score that is to be expected is of predictions for so many parts of the samples, each by what
# the others choose.
_PARTS = 5
_LEAST_ROWS_OF_A_PART = 10
_MOST_DRAWN = 40
# What few samples choose is drawn toward the mean of so many trials, the best ones alone.
_BEST_TRIALS = 10
# And trials with less than this share are no members.
_LEAST_SHARE = 0.005
# Where that scores worse than the best trial alone by more than this part, trials differ by more
# than chance, and nothing is drawn.
_WORSE = 0.05
# A score that is worse by such a part than in the search is one of something else.
_OTHERWISE = 0.25
# A trial that is worse by such a part at the epoch that other folds choose diverges there.
_DIVERGED = 1.0


class EnsembleMember(NamedTuple):
    """A trial in an ensemble.

    Attributes:
        trial_id: the id of the trial.
        share: its weight in the mean of outputs; the shares of all members have the sum 1.
        score: what the trial scores alone, for the same samples.
    """

    trial_id: str
    share: float
    score: float


@dataclasses.dataclass(frozen=True, eq=False)
class EnsembleSelection(Report):
    """The trials that make the best ensemble: what `tuner.select_ensemble` returns.

    `print` shows it as a table.

    Attributes:
        rows: an `EnsembleMember` for each trial that was chosen, the largest share first.
        metric: the name of the metric.
        score: what the ensemble scores for the samples by which it was chosen: too good.
        expected_score: the score for samples that the choice did not see: each of five parts of
            the samples is predicted by the ensemble that the other four choose, at epochs that the
            fold of a sample had no part in choosing (`OutOfFold.apart`), and all are scored
            together. None of fewer than 50 samples.
        standard_error: of `expected_score`, by a jackknife that leaves out one of the five parts.
        best_trial_id: the id of the trial that scores best alone.
        best_score: what that trial scores alone.
        predictions: of the ensemble for the samples, an array of the shape (samples, ...).
        targets: the targets of the samples.
        samples: the numbers of the samples, as `OutOfFold.rows`.
        build: makes the ensemble, for `model`.
    """

    rows: tuple[EnsembleMember, ...]
    metric: str
    score: float
    expected_score: float | None
    standard_error: float | None
    best_trial_id: str
    best_score: float
    predictions: np.ndarray
    targets: np.ndarray
    samples: np.ndarray
    build: Callable[[EnsembleSelection, bool, int], Ensemble] = dataclasses.field(repr=False)

    objects: ClassVar[tuple[str, ...]] = ("predictions", "targets", "samples", "build")

    def model(self, spread: bool = False, retrain: int = 0) -> Ensemble:
        """Builds the ensemble: of each trial all models of its folds and executions.

        Or each trial is trained again, as lanes, with all samples that `search` was given, those of
        validation data that were given apart excepted. It has as many steps as it had to the best
        epoch that its folds have together. A second call trains none of them again. Scores of the
        selection are those of the models of the search.

        Args:
            spread: as for `kerasreg.models.Ensemble`.
            retrain: how often each trial is trained again, with other random numbers where the
                model has no seeds of its own; 0 for the models of the search.

        Returns:
            A `kerasreg.models.Ensemble`.

        Raises:
            ValueError: if `retrain` is no whole number >= 0, this process has not searched, or the
                tuner trains by methods of its own.
            RuntimeError: if a training failed.
        """
        return self.build(self, spread, check_count("retrain", retrain, minimum=0))

    def plot(self, path: str | os.PathLike[str] | None = None, *, style: str | None = None) -> Any:
        """Draws the members by their shares, and their scores beside that of the ensemble.

        Args:
            path: a file for the picture, whose name ends with `.png` or `.svg`; None writes
                no file. The file is written beside and renamed.
            style: `"light"` or `"dark"`; None for dark where Matplotlib draws on dark paper, as
                `plt.style.use("dark_background")` has it, and else light.

        Returns:
            The Matplotlib figure, which notebooks show.

        Raises:
            ImportError: if Matplotlib is not installed.
            ValueError: if the name of the file ends otherwise, or `style` is none of these.
            OSError: if the file cannot be written.
        """
        height = 1.8 + 0.28 * min(len(self.rows), _MOST_DRAWN)
        return drawn_to(path, "EnsembleSelection.plot", 8.0, height, self._draw, style)

    def _draw(self, drawn: Any, look: Look) -> None:
        rows = self.rows[:_MOST_DRAWN]
        left, right = drawn.subplots(1, 2, sharey=True)
        places = range(len(rows))
        left.barh(places, [100.0 * row.share for row in rows], color=COLOURS[0])
        left.set_yticks(list(places), [row.trial_id for row in rows])
        left.invert_yaxis()
        more = len(self.rows) - len(rows)
        left.set_ylabel("trial" + (f" (the first {len(rows)} of {len(self.rows)})" if more else ""))
        left.set_xlabel("share in the mean (%)")
        scores = [row.score for row in rows]
        right.plot(scores, places, color=COLOURS[1], marker=MARKERS[0], linestyle="none")
        right.axvline(self.score, color=COLOURS[3], linestyle=LINES[3])
        alone: dict[str, Any] = {"color": COLOURS[1], "marker": MARKERS[0], "linestyle": "none"}
        drawn_as = [("a member alone", alone)]
        told = f"together, where they were chosen: {self.score:.4g}"
        drawn_as.append((told, {"color": COLOURS[3], "linestyle": LINES[3]}))
        if self.expected_score is not None:
            error = self.standard_error or 0.0
            right.axvline(self.expected_score, color=COLOURS[2], linewidth=2.2)
            ends = self.expected_score - error, self.expected_score + error
            right.axvspan(*ends, color=COLOURS[2], alpha=0.2, linewidth=0)
            told = f"together, elsewhere: {self.expected_score:.4g} ± {error:.2g}"
            drawn_as.append((told, {"color": COLOURS[2], "linewidth": 2.2}))
        right.set_xlabel(self.metric)
        for axes in (left, right):
            axes.locator_params(axis="x", nbins=5)
            grid(axes, look, "x")
        left.set_title("Members of the ensemble")
        right.set_title("Scores, of samples not trained with")
        lines = [right.plot([], [], **how)[0] for _, how in drawn_as]
        drawn.legend(
            lines, [told for told, _ in drawn_as], loc="outside lower center", ncols=len(lines)
        )

    def __str__(self) -> str:
        lines = [text_table(("trial", "share", self.metric), self.rows)]
        lines.append(f"together: {self.metric} {self.score:.4g} where they were chosen")
        if self.expected_score is not None:
            lines[-1] += f", {self.expected_score:.4g} ± {self.standard_error:.2g} elsewhere"
        lines.append(
            f"the best trial alone, {self.best_trial_id}: {self.best_score:.4g} where it was found "
            "to be the best"
        )
        return "\n".join(lines)


def select(
    found: OutOfFold,
    like: keras.Model,
    objective: Any,
    metric: Any,
    mode: str,
    size: int,
    shrinkage: float,
    seed: int,
    build: Callable[[EnsembleSelection, bool, int], Ensemble],
) -> EnsembleSelection:
    """Chooses trials by their predictions, see the tuner's method.

    Args:
        found: predictions of trials.
        like: a compiled model of one of them.
        objective: the objective of the search.
        metric: as for the tuner's method.
        mode: likewise.
        size: likewise.
        shrinkage: likewise.
        seed: of the parts of the samples.
        build: makes the ensemble of a selection.
    """
    logits = Ensemble([like]).logits
    if metric is None and mode == "auto":
        mode = "min"  # An objective or a loss that may be a function of which Keras knows nothing.
    metric, name = _metric(like, objective, metric, found, logits)
    each = [probabilities_of(of, logits) for of in found.predictions]
    score = Scorer(metric, mode, lambda mean: as_outputs(mean, logits))

    sign = 1.0 if score.mode == "min" else -1.0

    def chosen(rows: Any) -> tuple[np.ndarray, np.ndarray]:
        """The shares of trials by some samples, and the loss of each of them alone."""
        predicted, targets = [of[rows] for of in each], found.targets[rows]
        counts = greedy_counts(predicted, targets, score, size)
        shares = np.asarray(counts / counts.sum())
        losses = sign * score.each(targets, predicted)
        drawn = _shrunken(shares, losses, len(targets), shrinkage)
        best = float(np.nanmin(losses))
        loss = sign * score(targets, _mean(predicted, drawn))
        return drawn if loss - best <= _WORSE * abs(best) else shares, losses

    shares, losses = chosen(slice(None))
    scores = [float(sign * loss) for loss in losses]
    apart = _apart(found, each, losses, score, logits)
    expected, error = _expected(chosen, score, apart, found.targets, seed)
    best = int(np.nanargmin(losses))
    mean = _mean(each, shares)
    order = sorted(np.flatnonzero(shares), key=lambda k: (-shares[k], sign * scores[k]))
    return EnsembleSelection(
        rows=tuple(EnsembleMember(found.trial_ids[k], float(shares[k]), scores[k]) for k in order),
        metric=name,
        score=score(found.targets, mean),
        expected_score=expected,
        standard_error=error,
        best_trial_id=found.trial_ids[best],
        best_score=scores[best],
        predictions=as_outputs(mean, logits).astype("float32"),
        targets=found.targets,
        samples=found.rows,
        build=build,
    )


def select_ensemble(
    tuner: Any,
    found: OutOfFold,
    metric: Any,
    mode: str,
    size: int,
    shrinkage: float,
    retrained: Callable[[Sequence[Any], int], tuple[Any, list[Any]]],
) -> EnsembleSelection:
    """Chooses trials of a search, see the tuner's method.

    Args:
        tuner: the tuner, which has the weights of the trials.
        found: predictions of its trials.
        metric: as for the tuner's method.
        mode: likewise.
        size: likewise.
        shrinkage: likewise.
        retrained: trains trials again, so many times each; gives a tuner and its trials.
    """
    trials = {trial.trial_id: trial for trial in tuner.oracle.trials.values()}

    def build(selection: EnsembleSelection, spread: bool, retrain: int) -> Ensemble:
        owner, chosen = tuner, [trials[row.trial_id] for row in selection.rows]
        if retrain:
            owner, chosen = retrained(chosen, retrain)
        ids = [one.trial_id for one in chosen]
        stored = read_all(owner.project_dir, ids, owner.weight_files(ids))
        models, shares = [], []
        for row, trial in zip(selection.rows, chosen, strict=True):
            mine = models_of(owner, trial, stored.get(trial.trial_id, []))
            models += mine
            shares += [row.share / len(mine)] * len(mine)
        return Ensemble(models, shares, spread=spread)

    like = tuner.build_as_trained(trials[found.trial_ids[0]])
    seed, objective = tuner.oracle.seed, tuner.oracle.objective
    selection = select(found, like, objective, metric, mode, size, shrinkage, seed, build)
    _warn_of_other_targets(selection, trials[selection.best_trial_id], objective, metric)
    return selection


def _warn_of_other_targets(
    selection: EnsembleSelection, trial: Any, objective: Any, metric: Any
) -> None:
    """Warns if a trial scores much worse than it did in the search, by the same metric.

    Args:
        selection: a selection.
        trial: the trial that scores best alone.
        objective: the objective of the search.
        metric: the metric that was asked for, or None.
    """
    name = getattr(objective, "name", "")
    # Of the loss, the search has the penalties too: it is the worse one then.
    is_same = name == f"val_{selection.metric}" or (name == "val_loss" and metric is None)
    if not is_same or trial.score is None:
        return
    now, then = selection.best_score, trial.score
    # Folds may differ, as in an order of time: of all samples, a root of squares is not the mean.
    each = values_of(trial, name)
    worse = now - max(each) if objective.direction == "min" else min(each) - now
    if worse > _OTHERWISE * abs(then) + 1e-6:
        warn(
            f"Trial {trial.trial_id} scores {now:.4g} by its predictions, and scored {then:.4g} in "
            "the search: the targets or the samples are others, as where the hypermodel's `fit` "
            "changes targets or weighs samples. Give their `data`, or a `metric` that does so too."
        )


def _apart(
    found: OutOfFold, each: list[np.ndarray], losses: np.ndarray, score: Scorer, logits: str
) -> list[np.ndarray]:
    """Predictions at epochs that the fold of a sample did not choose.

    The best epoch is chosen by the samples that are predicted: of few samples, that alone makes the
    score of a trial too good. Where the other folds would have chosen one at which a trial
    diverges, all folds together know better.

    Args:
        found: predictions of trials.
        each: the predictions at the best epochs, of which the mean is that of an ensemble.
        losses: of these, the smaller the better.
        score: of predictions.
        logits: that outputs are.
    """
    others = [k for k, of in enumerate(found.apart) if of is not found.predictions[k]]
    made = list(each)
    for k in others:
        made[k] = probabilities_of(found.apart[k], logits)
    if others:
        sign = 1.0 if score.mode == "min" else -1.0
        worse = sign * score.each(found.targets, [made[k] for k in others]) - losses[others]
        for k, by in zip(others, worse, strict=True):
            if not by <= _DIVERGED * abs(losses[k]):
                made[k] = each[k]
    return made


def _expected(
    chosen: Callable[[Any], tuple[np.ndarray, np.ndarray]],
    score: Callable[[Any, Any], float],
    each: list[np.ndarray],
    targets: np.ndarray,
    seed: int,
) -> tuple[float | None, float | None]:
    """The score for samples that the choice did not see, and its standard error.

    All parts are scored together: the mean of their scores is no score of a metric that is no mean
    over samples. A root of squares, for one, is too small for a part of few.
    """
    count = len(targets)
    if count < _PARTS * _LEAST_ROWS_OF_A_PART:
        return None, None
    parts = np.array_split(np.random.default_rng(seed).permutation(count), _PARTS)
    predicted = np.empty(each[0].shape, "float64")
    for part in parts:
        others = np.setdiff1d(np.arange(count), part)
        predicted[part] = _mean([of[part] for of in each], chosen(others)[0])
    without = [
        score(np.delete(targets, part, axis=0), np.delete(predicted, part, axis=0))
        for part in parts
    ]
    error = (_PARTS - 1) * float(np.std(without, ddof=1)) / np.sqrt(_PARTS)
    return score(targets, predicted), float(error)


def _shrunken(shares: np.ndarray, losses: np.ndarray, samples: int, shrinkage: float) -> np.ndarray:
    """The shares of trials, drawn toward those of the mean of the best ones alone.

    Args:
        shares: of the trials that were chosen.
        losses: of each trial alone, the smaller the better; NaN for one that is no candidate.
        samples: by how many they were chosen.
        shrinkage: so many samples the mean of the best ones counts.
    """
    # Of the better half at most: the worst of few may be of no use at all.
    count = min(_BEST_TRIALS, (int(np.isfinite(losses).sum()) + 1) // 2)
    if not shrinkage or not count:
        return shares
    best = np.argsort(losses, kind="stable")[:count]
    equal = np.zeros(len(shares))
    equal[best] = 1.0 / count
    drawn = (samples * shares + shrinkage * equal) / (samples + shrinkage)
    drawn[(drawn < _LEAST_SHARE) & (shares == 0)] = 0.0
    return np.asarray(drawn / drawn.sum())


def _mean(each: list[np.ndarray], shares: np.ndarray) -> np.ndarray:
    total = sum(shares[k] * each[k].astype("float64") for k in np.flatnonzero(shares))
    return np.asarray(total / shares.sum())


def _metric(
    like: keras.Model, objective: Any, metric: Any, found: OutOfFold, logits: str
) -> tuple[Any, str]:
    """The metric that is meant, and its name."""
    # Keras makes the metrics when it first computes them.
    like.compute_metrics(None, found.targets[:1], found.predictions[0][:1])
    known = logged_metrics(like)
    known.pop("loss", None)  # Of batches, and with penalties.
    is_loss = False
    if metric is None:
        name = getattr(objective, "name", "").removeprefix("val_")
        is_metric = name in known and objective.direction == "min"
        metric, is_loss = (name, False) if is_metric else (like.loss, True)
    if isinstance(metric, (list, tuple, dict)):
        flat = keras.tree.flatten(metric)
        metric = flat[0] if len(flat) == 1 else metric
    if isinstance(metric, str) and metric in known and not is_loss:
        return known[metric], metric
    if isinstance(metric, str) and not is_loss:
        return _of_logits(metric) if logits != "none" else metric, metric
    name = str(getattr(metric, "name", None) or getattr(metric, "__name__", metric))
    if is_loss and isinstance(metric, str):
        metric = keras.losses.get(metric)  # Not the metric of the name: it may have another sign.
    if is_loss and callable(metric) and not isinstance(metric, keras.losses.Loss):
        metric = _LossOf(metric)
    return metric, name


class _LossOf(keras.losses.Loss):
    """A loss that is a function or a name, as `compile` takes one."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


def _of_logits(name: str) -> Any:
    """A crossentropy that takes logits, where a name stands for one; else the name."""
    for kind in (keras.metrics, keras.losses):
        with contextlib.suppress(ValueError):
            metric = kind.get(name)
            config = metric.get_config() if hasattr(metric, "get_config") else {}
            if "from_logits" in config:
                return type(metric).from_config({**config, "from_logits": True})
            break
    return name
