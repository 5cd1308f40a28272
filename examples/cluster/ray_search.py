"""Runs `kerasreg search` on each machine of a cluster of Ray's, as a task that is restarted.

Usage: ray submit ray.yaml ray_search.py --storage=postgresql://... --artifacts=s3://BUCKET/houses

Ray places the tasks, one for each machine, and starts those anew whose machine is gone. What the
machines share is the study and the artifacts: see `kubernetes.yaml` for what a machine needs.
"""

import argparse
import subprocess

# CHANGE: the data are on each machine.
COMMAND = (
    "kerasreg",
    "search",
    "--data=/home/ubuntu/houses.csv",
    "--target=price",
    "--trials=1000",
    "--output_dir=/tmp/kerasreg/houses",
)


def search(command):
    """Runs a command; returns its exit code and its last lines."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, "\n".join(done.stdout.splitlines()[-5:])


def main(argv=None, command=COMMAND):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--storage", required=True)
    parser.add_argument("--artifacts", required=True)
    given = parser.parse_args(argv)
    import ray

    ray.init(ignore_reinit_error=True)
    command = [*command, f"--storage={given.storage}", f"--artifacts={given.artifacts}"]
    # SPREAD and all processors of a machine: one task for each.
    running = [
        ray.remote(search)
        .options(num_cpus=node["Resources"]["CPU"], max_retries=-1, scheduling_strategy="SPREAD")
        .remote(command)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    codes = []
    while running:
        ended, running = ray.wait(running, num_returns=1)
        for code, told in ray.get(ended):
            codes.append(code)
            print(told, flush=True)
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
