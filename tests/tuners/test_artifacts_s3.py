"""Artifacts in a server of S3, where moto and s3fs are installed."""

import pytest

from kerasreg.tuners._artifacts import Artifacts

pytest.importorskip("s3fs")
server = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")


@pytest.fixture
def bucket(monkeypatch):
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="found")
    yield "s3://found/search"
    running.stop()


def test_files_are_put_into_a_bucket(bucket, tmp_path):
    files = Artifacts(bucket)
    files.check()
    name = files.put(b"weights" * 10**6, ".npz")
    assert Artifacts(bucket).get(name) == b"weights" * 10**6
    with open(files.local(name, str(tmp_path)), "rb") as file:
        assert len(file.read()) == 7 * 10**6
    keys = [one["Key"] for one in boto3.client("s3").list_objects_v2(Bucket="found")["Contents"]]
    assert keys == [f"search/{name}"]


def test_a_bucket_that_is_not_there_is_said(bucket):
    with pytest.raises(RuntimeError, match="`artifacts` cannot be written: 's3://nothing/search'"):
        Artifacts("s3://nothing/search").check()
