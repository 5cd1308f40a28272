"""Searches whose processes have nothing in common but a study and artifacts."""

import contextlib
import io
import os

import numpy as np
import pytest

from kerasreg import tuners

pytestmark = [pytest.mark.shares_programs, pytest.mark.long]


def made(build, folder, artifacts, **given):
    given = {"max_trials": 6, "max_lanes": 4, "folds": 2, **given}
    with contextlib.redirect_stdout(io.StringIO()):
        return tuners.VectorizedStudySearch(
            build,
            "val_loss",
            seed=5,
            sampler="random",
            storage=str(folder.parent / "study.db"),
            study_name="study",
            directory=folder,
            project_name="project",
            artifacts=artifacts,
            **given,
        )


def run(tuner, blobs, **given):
    tuner.search(*blobs[:2], epochs=3, batch_size=16, verbose=0, **given)
    return tuner


@pytest.fixture(params=["folder", "memory"])
def places(request, tmp_path):
    if request.param == "memory":
        pytest.importorskip("fsspec")
        return f"memory://{tmp_path.name}"
    return str(tmp_path / "artifacts")


def weights_in(folder):
    return [name for name in os.listdir(folder / "project") if name.endswith(".npz")]


def test_whoever_is_last_has_the_ensemble_of_all(build, blobs, tmp_path, places):
    first = run(made(build, tmp_path / "first", places, max_trials=3), blobs)
    second = run(made(build, tmp_path / "second", places), blobs)
    assert [trial.status for trial in second.oracle.trials.values()] == ["COMPLETED"] * 6
    # The same trials by one process, which keeps their weights in its folder.
    (tmp_path / "alone").mkdir()
    alone = run(made(build, tmp_path / "alone" / "project", None), blobs)
    expected = alone.out_of_fold()
    assert len(expected.trial_ids) == 6
    third = made(build, tmp_path / "third", places)
    told = []
    assert len(third.follow(*blobs[:2], ended=told.append)) == 6
    assert told == []  # All have ended before.
    for tuner in (second, third):
        found = tuner.out_of_fold()
        assert found.trial_ids == expected.trial_ids
        for mine, theirs in zip(found.predictions, expected.predictions, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
    rows = [row.trial_id for row in alone.select_ensemble().rows]
    assert [row.trial_id for row in third.select_ensemble().rows] == rows
    x = blobs[0][:5]
    np.testing.assert_allclose(
        third.ensemble().predict(x, verbose=0), alone.ensemble().predict(x, verbose=0), rtol=1e-4
    )
    assert len(third.get_best_models(6)) == 6
    # Learning curves and sizes are known of all, and weights are in one place only.
    curves = third.report().to_dict()["curves"]["trials"]
    assert len(curves) == 6
    assert all(len(curve["validation"]) == 3 for curve in curves)
    assert weights_in(tmp_path / "first") == weights_in(tmp_path / "second") == []
    for trial in first.oracle.trials.values():
        assert first.load_model(trial).count_params() > 0


def test_weights_are_there_before_a_trial_is_known_to_have_ended(build, blobs, tmp_path):
    tuner = made(build, tmp_path / "first", str(tmp_path / "artifacts"))
    tell, seen = tuner.oracle._tell, []

    def watched(trial):
        names = tuner.oracle._running[trial.trial_id].trial.user_attrs["kerasreg:artifacts"]
        seen.append([os.path.exists(tmp_path / "artifacts" / name) for name in names])
        tell(trial)

    tuner.oracle._tell = watched
    run(tuner, blobs)
    assert seen == [[True, True]] * 6


def test_what_cannot_be_written_ends_the_search_and_nothing_is_told(build, blobs, tmp_path):
    tuner = made(build, tmp_path / "first", str(tmp_path / "artifacts"))
    (tmp_path / "artifacts").write_text("no folder")
    with pytest.raises(RuntimeError, match="`artifacts` cannot be written"):
        run(tuner, blobs)
    assert "COMPLETE" not in {trial.state.name for trial in tuner.oracle.study.trials}
    os.remove(tmp_path / "artifacts")
    again = run(made(build, tmp_path / "second", str(tmp_path / "artifacts")), blobs)
    assert len(again.out_of_fold().trial_ids) == 6


def test_a_strategy_has_no_artifacts(build, tmp_path):
    with pytest.raises(ValueError, match="`artifacts` must be None with a `distribution_strategy`"):
        made(build, tmp_path / "first", "here", distribution_strategy=object())
