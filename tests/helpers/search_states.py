"""States of trials as KerasTuner writes them, without a search."""

import numpy as np

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"quotes' & `ticks` | <b>bold</b>",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "emoji \U0001f680\U0001f469\u200d\U0001f52c",
    "<!-- <script> ]]> ${x} {{y}}",
]


def entry(kind, name, **config):
    """A hyperparameter of a space."""
    return {"class_name": kind, "config": {"name": name, "conditions": [], **config}}


def state(trial_id, values, scores, space, **others):
    """The state of one trial; without `scores` it has no result."""
    observations = [{"step": 4, "value": list(scores)}]
    metrics = {"val_loss": {"direction": "min", "observations": observations}} if scores else {}
    return {
        "trial_id": trial_id,
        "status": "COMPLETED" if scores else "FAILED",
        "score": float(np.mean(scores)) if scores else None,
        "best_step": 4 if scores else 0,
        "message": None,
        "hyperparameters": {"space": space, "values": values},
        "metrics": {"metrics": metrics},
        **others,
    }


def states(count, folds=3, seed=0, names=None, choices=("relu", "gelu", "mish"), failed=0):
    """Many trials, whose scores depend on the first of their hyperparameters most of all."""
    rate, units, drop, kind, heads = names or ["rate", "units", "dropout", "activation", "heads"]
    parent = {"class_name": "Parent", "config": {"name": kind, "values": [choices[0]]}}
    space = [
        entry("Float", rate, sampling="log", min_value=1e-4, max_value=1e-1),
        entry("Int", units, sampling="linear", min_value=8, max_value=256),
        entry("Float", drop, sampling="linear", min_value=0.0, max_value=0.6),
        entry("Choice", kind, values=list(choices), ordered=False),
        entry("Boolean", heads) | {"config": {"name": heads, "conditions": [parent]}},
    ]
    generator, found = np.random.default_rng(seed), []
    for number in range(count):
        values = {
            rate: float(10 ** generator.uniform(-4, -1)),
            units: int(generator.integers(8, 257)),
            drop: float(generator.uniform(0, 0.6)),
            kind: choices[int(generator.integers(len(choices)))],
            heads: bool(generator.integers(2)),
        }
        score = 0.3 + 0.1 * (np.log10(values[rate]) + 2.5) ** 2 + 0.1 * values[drop]
        score *= 40.0 if number % 50 == 49 else 1.0  # Some are far off.
        scores = (score + generator.normal(0, 0.02, folds)).tolist()
        found.append(state(f"{number:05d}", values, scores, space))
    for number in range(count, count + failed):
        message = f"Traceback:\nValueError: {HOSTILE[number % len(HOSTILE)]}"
        found.append(state(f"{number:05d}", found[0]["hyperparameters"]["values"], [], space))
        found[-1]["message"] = message
    return found


def parts(found, epochs=30):
    """What a search tells beside its trials."""
    generator = np.random.default_rng(1)
    done = sorted((one for one in found if one["score"] is not None), key=lambda s: s["score"])
    curves = []
    for one in done[:60] + done[60 :: max(1, len(done) // 60)]:
        fall = np.exp(-np.arange(epochs) / 6) + 0.02 * generator.normal(size=epochs)
        curves.append(
            {
                "trial": one["trial_id"],
                "epochs": list(range(epochs)),
                "validation": (one["score"] + 0.6 * fall).tolist(),
                "training": (0.8 * one["score"] + 0.7 * fall).tolist(),
            }
        )
    best = done[0]
    return {
        "shrunken": {one["trial_id"]: (one["score"] + 0.01, 0.02) for one in done},
        "trained": {
            one["trial_id"]: {
                "program": 1, "why_alone": None, "seconds": 0.25, "zeros": place % 11 / 10,
                "bytes": 4000 + place, "stopped": "pruner" if place % 5 == 2 else None,
                "began": 1.7e9 + place, "ended": 1.7e9 + place + 5.0,
            }
            for place, one in enumerate(done)
        },
        "progress": {"state": "running", "ended": len(done), "expected": len(done) + 8,
                     "running": 8, "written": "2026-01-02T03:04:05+00:00"},
        "lanes": [
            {"began": 1.7e9, "seconds": [0.5, 20.0, 31.0], "in_use": [48.0, 12.0, 0.0],
             "most": 48, "mean": 35.0},
            {"began": 1.7e9 + 99, "seconds": [1.0, 9.0], "in_use": [24.0, 0.0], "most": 24,
             "mean": 21.3},
        ],
        "curves": {"metric": "val_loss", "training_metric": "loss", "trials": curves},
        "honesty": [
            {"what": "the best trial in the search", "metric": "val_loss", "score": best["score"],
             "standard_error": None, "note": "the best of many: too good"},
            {"what": "the same, shrunken", "metric": "val_loss", "score": best["score"] + 0.01,
             "standard_error": 0.02, "note": "what new folds would give"},
        ],
        "ensemble": {
            "metric": "loss", "score": 0.2, "expected_score": 0.25, "standard_error": 0.01,
            "best_trial": best["trial_id"], "best_score": best["score"],
            "members": [
                {"trial": one["trial_id"], "share": share, "score": one["score"]}
                for one, share in zip(done, (0.5, 0.3, 0.2), strict=False)
            ],
        },
        "programs": [
            {"program": 1, "trials": len(done), "at_once": 48, "seconds": 12.5, "tracing": 3.0,
             "loops": [], "why": "", "change": ""},
        ],
        "provenance": {"versions": {"kerasreg": "0.1.0", "keras": "3.12.0"},
                       "fingerprint": "ab" * 32, "command": "kerasreg search --data=wine",
                       "code": "values = {'rate': 0.1}"},
    }  # fmt: skip
