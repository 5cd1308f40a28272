"""One picture of the schedules, and of what is calculated from them.

Run: python examples/schedules.py [schedules.png]
"""

import sys

from kerasreg import schedules
from kerasreg.schedules import Cosine, CosineRestarts, Cyclical, Join, Linear, OneCycle, Warmup


def main(picture: str) -> None:
    shown = {
        "OneCycle(1, 400)": OneCycle(1.0, 400),
        "Warmup(Cosine(1, 0, 350), 50)": Warmup(Cosine(1.0, 0.0, 350), 50),
        "WarmupStableDecay(1, 40, ...)": schedules.WarmupStableDecay(
            1.0, 40, stable_steps=260, decay_steps=100
        ),
        "CosineRestarts(1, 100, growth=2)": CosineRestarts(1.0, 100, growth=2.0),
        "Cyclical * Linear": Cyclical(0.5, 1.0, rise_steps=25) * Linear(1.0, 0.2, 400),
        "Linear.in_epochs(50, staircase)": Linear(1.0, 0.1, 8).in_epochs(50, staircase=True),
        "Join([0.3, Step(0.9, 0.5, 40)], [200])": Join([0.3, schedules.Step(0.9, 0.5, 40)], [200]),
        "InverseSqrt(1, 60)": schedules.InverseSqrt(1.0, 60),
    }
    schedules.plot(shown, picture, steps=440)
    for name, schedule in shown.items():
        print(f"{name}: {float(schedule(0)):.3f} at first, {float(schedule(400)):.3f} at step 400")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "schedules.png")
