"""What `test_cli_interruption.py` runs: the command, which gets a signal at a certain moment.

Usage: python interrupted_program.py MOMENT SIGNAL ARGUMENT...

MOMENT is `data`, `choice`, `export` or `report`; or `FIT.EPOCH`, the end of an epoch of a training
of lanes, both from 1; or `FIT.EPOCH.stays`, at which the process stays until it is ended.
"""

import os
import sys
import time

sys.argv[0] = "kerasreg"


def main(moment, number, *arguments):
    from kerasreg.cli import _search
    from kerasreg.cli._main import main as command

    def told():
        os.kill(os.getpid(), int(number))

    def ends(*args, **kwargs):
        told()
        time.sleep(60)  # It is not to come so far.
        raise AssertionError("nobody has ended the process")

    if moment == "data":
        _search.table_of = ends
    else:
        from kerasreg.cli._command import loading

        with loading():
            from kerasreg import lanes, serving, tuners
            from kerasreg.cli import _ending
        if moment == "choice":
            tuners.VectorizedTuner.select_ensemble = ends
        elif moment == "export":
            serving.verify = ends  # The version is there, and the report is not.
        elif moment == "report":
            _ending.write_report = ends
        else:
            at_epochs(lanes.Lanes, moment, told)
    command(["kerasreg", *arguments])


def at_epochs(lanes, moment, told):
    """Tells the process to end at the end of an epoch."""
    which, at, *stays = moment.split(".")
    fit, count = lanes.fit, [0, 0]

    def counted(self, *args, on_epoch_end, **kwargs):
        count[0] += 1
        count[1] = 0

        def ended(*of_epoch):
            count[1] += 1
            if count == [int(which), int(at)]:
                told()
                time.sleep(120 if stays else 0.5)  # Until a thread has heard of it.
            return on_epoch_end(*of_epoch)

        return fit(self, *args, on_epoch_end=ended, **kwargs)

    lanes.fit = counted


if __name__ == "__main__":
    main(*sys.argv[1:])
