"""The ready files in examples/cluster/: what schemas and shells say of them."""

import os
import pathlib
import re
import subprocess
import time

import pytest

yaml = pytest.importorskip("yaml")

FOLDER = pathlib.Path(__file__).parent.parent / "examples" / "cluster"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
NEEDED = {"--data", "--target", "--trials", "--storage", "--artifacts", "--output_dir"}


def flags_of(text):
    """The flags of `kerasreg search` in a file, without those of other programs."""
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    command = re.search(r"\bkerasreg[\s\",]+search\b(.*)", code, re.DOTALL)
    return set(re.findall(r"--[a-z_]+(?==)", command[1])) if command else set()


def test_there_is_a_file_for_each_kind_of_cluster():
    assert FILES == [
        "kubernetes.yaml",
        "ray.yaml",
        "slurm.sh",
        "tpu_vm.sh",
        "vertex_ai.yaml",
    ]


@pytest.mark.parametrize("name", FILES)
def test_file_says_what_to_change(name):
    text = (FOLDER / name).read_text()
    assert text.count("CHANGE") >= 2
    assert len(max(text.splitlines(), key=len)) < 120


@pytest.mark.parametrize("name", ["kubernetes.yaml", "slurm.sh", "vertex_ai.yaml"])
def test_file_has_the_command_of_the_documentation(name):
    assert flags_of((FOLDER / name).read_text()) >= NEEDED


def test_flags_are_those_of_the_command():
    """But for the ones that a search of several machines has."""
    reference = (FOLDER.parent.parent / "docs" / "guides" / "command.md").read_text()
    known = set(re.findall(r"^\| `(--[a-z_]+)` ", reference, re.MULTILINE))
    several = {"--storage", "--artifacts", "--workers"}
    for name in FILES:
        assert flags_of((FOLDER / name).read_text()) <= known | several, name


def kubernetes():
    return list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))


def test_kubernetes_schema():
    validate = pytest.importorskip("kubernetes_validate")
    version = validate.latest_version()
    for document in kubernetes():
        validate.validate(document, version, strict=True)
    wrong = kubernetes()[1]
    wrong["spec"]["completion"] = 8
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, version, strict=True)


def test_kubernetes_job_is_indexed_and_its_names_fit():
    secret, job = kubernetes()
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] <= spec["completions"]
    assert pod["restartPolicy"] == "Never"  # Which a policy of failures needs.
    assert pod["terminationGracePeriodSeconds"] >= 60
    (variable,) = container["env"]
    key = variable["valueFrom"]["secretKeyRef"]
    assert key["name"] == secret["metadata"]["name"]
    assert key["key"] in secret["stringData"]
    assert f"--storage=$({variable['name']})" in container["args"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}
    for rule in spec["podFailurePolicy"]["rules"]:
        if "onExitCodes" in rule:
            assert rule["onExitCodes"]["containerName"] == container["name"]
    paths = [
        arg.partition("=")[2] for arg in container["args"] if arg.startswith(("--data", "--o"))
    ]
    assert all(path.startswith(tuple(mounted.values())) for path in paths)


def test_vertex_ai_has_pools_of_equal_machines():
    """By the names of fields of Vertex AI's CustomJobSpec, version 1."""
    job = yaml.safe_load((FOLDER / "vertex_ai.yaml").read_text())
    assert job.keys() <= {"workerPoolSpecs", "scheduling", "network", "serviceAccount"}
    first, second = job["workerPoolSpecs"]
    assert first["replicaCount"] == 1
    for pool in (first, second):
        assert pool.keys() == {"machineSpec", "replicaCount", "containerSpec"}
        machine = {"machineType", "acceleratorType", "acceleratorCount"}
        assert pool["machineSpec"].keys() <= machine
        assert pool["containerSpec"].keys() <= {"imageUri", "command", "args", "env"}
    assert first["containerSpec"] == second["containerSpec"]
    schedule = {"timeout", "restartJobOnWorkerRestart", "strategy", "disableRetries"}
    assert job["scheduling"].keys() <= schedule
    assert job["scheduling"]["strategy"] in ("STANDARD", "SPOT", "ON_DEMAND", "FLEX_START")


def test_vertex_ai_schema():
    platform = pytest.importorskip("google.cloud.aiplatform_v1")
    from google.protobuf import json_format

    job = yaml.safe_load((FOLDER / "vertex_ai.yaml").read_text())
    json_format.ParseDict(job, platform.CustomJobSpec()._pb)  # Refuses what it does not know.


def ray_cluster():
    return yaml.safe_load((FOLDER / "ray.yaml").read_text())


def test_ray_schema():
    pytest.importorskip("ray")
    jsonschema = pytest.importorskip("jsonschema")
    from ray.autoscaler._private import util

    util.validate_config(util.fillout_defaults(ray_cluster()))
    with pytest.raises(jsonschema.ValidationError):
        util.validate_config(util.fillout_defaults({**ray_cluster(), "max_worker": 8}))


def test_ray_cluster_has_a_head_and_workers():
    cluster = ray_cluster()
    types = cluster["available_node_types"]
    assert cluster["head_node_type"] in types
    assert sum(of.get("min_workers", 0) for of in types.values()) <= cluster["max_workers"]
    assert cluster["provider"].keys() == {"type", "region"}
    (copied,) = cluster["file_mounts"]
    # The command is that which a comment says, with Ray.
    comment = " ".join(
        line.removeprefix("#") for line in (FOLDER / "ray.yaml").read_text().splitlines()[:8]
    )
    command = re.search(r'ray exec ray.yaml "(kerasreg search .*?)"', comment)[1]
    assert "--ray=auto" in command
    assert f"--data={copied}" in command
    assert set(re.findall(r"--[a-z_]+(?==)", command)) == NEEDED | {"--ray"}


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".sh")])
def test_shell_reads_the_script(name):
    subprocess.run(["bash", "-n", FOLDER / name], check=True)


class FakePrograms:
    """A folder of programs in the place of a cluster's, each of which tells how it was called."""

    def __init__(self, folder):
        self.bin, self.called = folder / "bin", folder / "called"
        self.bin.mkdir()
        self.called.touch()

    def add(self, name, body=""):
        path = self.bin / name
        path.write_text(f'#!/bin/bash\necho {name} "$@" >> "{self.called}"\n{body}\n')
        path.chmod(0o755)

    def environment(self, **more):
        return {**os.environ, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", **more}

    @property
    def calls(self):
        return self.called.read_text().splitlines()


@pytest.fixture
def slurm(tmp_path):
    """Runs the script as Slurm would, with a fake `srun` and a fake `scontrol`."""
    programs = FakePrograms(tmp_path)
    programs.add("srun", 'exec "$@"')  # A fake: it starts its arguments here.
    programs.add("scontrol")
    given = {
        "SHARED": str(tmp_path / "shared"),
        "TMPDIR": str(tmp_path),
        "STORAGE": "postgresql://me@host/db",
        "SLURM_JOB_ID": "7",
        "SLURM_ARRAY_JOB_ID": "5",
        "SLURM_ARRAY_TASK_ID": "2",
    }

    def start(body):
        programs.add("kerasreg", body)
        script = [FOLDER / "slurm.sh"]
        return subprocess.Popen(["bash", *script], env=programs.environment(**given))

    return programs, start, tmp_path


def test_slurm_task_keeps_what_it_has_made(slurm):
    programs, start, folder = slurm
    made = 'for flag; do case $flag in --output_dir=*) mkdir -p "${flag#*=}/model/1";; esac; done'
    assert start(made).wait(timeout=20) == 0
    assert (folder / "shared" / "found" / "model" / "1").is_dir()
    srun, search = programs.calls
    assert srun == f"srun {search}"
    assert "--storage=postgresql://me@host/db" in search
    assert f"--artifacts={folder}/shared/artifacts" in search
    assert f"--output_dir={folder}/7_2_0/houses" in search


def test_slurm_task_that_fails_says_so(slurm):
    programs, start, folder = slurm
    assert start("exit 2").wait(timeout=20) == 2
    assert not any(call.startswith("scontrol") for call in programs.calls)
    assert not (folder / "shared" / "found").exists()


def test_slurm_task_that_is_ended_hands_its_trials_back_and_comes_again(slurm):
    programs, start, folder = slurm
    ready, handed = folder / "ready", folder / "handed"
    task = start(
        f"trap 'sleep 0.3; touch {handed}; exit 130' TERM\ntouch {ready}\n"
        "for _ in $(seq 200); do sleep 0.1; done"
    )
    until = time.monotonic() + 20
    while not ready.exists() and time.monotonic() < until:
        time.sleep(0.02)
    task.terminate()
    assert task.wait(timeout=20) == 130
    assert handed.exists()
    assert programs.calls[-1] == "scontrol requeue 5_2"


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_tpu_vms_are_made_searched_on_and_deleted(tmp_path, failing):
    programs = FakePrograms(tmp_path)
    fails = '[[ "$*" == *ssh*search-1*python* ]] && exit 1' if failing else ""
    fails += '\n[[ "$*" == *ssh*search-2*python* ]] && exit 1' if failing == 2 else ""
    programs.add("gcloud", f"{fails}\nexit 0")
    script = ["bash", FOLDER / "tpu_vm.sh", "mine.py"]
    environment = programs.environment(STORAGE="postgresql://me@host/db")
    done = subprocess.run(script, env=environment, check=False, timeout=60)
    assert done.returncode == (1 if failing == 2 else 0)
    verbs = [re.search(r"tpu-vm (\w+)", call)[1] for call in programs.calls]
    assert [verbs.count(verb) for verb in ("create", "scp", "ssh", "delete")] == [2, 2, 4, 2]
    assert verbs[-2:] == ["delete", "delete"]
    assert sum("STORAGE='postgresql://me@host/db'" in call for call in programs.calls) == 2
