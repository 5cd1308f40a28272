"""What waits while the model is busy is answered together, and each gets its own answer."""

import asyncio
import time

import numpy as np
import pytest

from kerasreg.serving.server._batching import Batcher, TooManyRequests


class Doubling:
    """Stands for a signature: takes its time, and refuses an example that is negative."""

    def __init__(self):
        self.batches = []

    def __call__(self, features):
        x = features["x"]
        self.batches.append(len(x))
        time.sleep(0.05)
        if np.any(x < 0):
            raise ValueError("negative")
        return {"y": 2 * x}


def ask(requests, most=100, queue=100):
    """The answers to requests that come at the same time, after one that keeps the model busy."""
    signature = Doubling()

    async def run():
        batcher = Batcher(most, queue)
        first = asyncio.create_task(batcher(signature, {"x": np.zeros((1, 1))}))
        await asyncio.sleep(0.01)
        others = (batcher(signature, {"x": np.array(x)}) for x in requests)
        found = await asyncio.gather(*others, return_exceptions=True)
        await first
        batcher.close()
        return found

    return asyncio.run(run()), signature.batches


def test_what_waits_is_one_batch_and_each_has_its_own_answer():
    requests = [[[1.0]], [[2.0], [3.0]], [], [[4.0]]]
    requests[2] = np.zeros((0, 1))
    found, batches = ask(requests)
    assert batches == [1, 4]
    for x, answer in zip(requests, found, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * np.array(x))


def test_a_batch_is_at_most_so_large_and_of_one_shape():
    found, batches = ask([[[1.0]]] * 5 + [[[1.0, 2.0]]], most=2)
    assert batches == [1, 2, 2, 1, 1]
    assert [answer["y"].shape for answer in found] == [(1, 1)] * 5 + [(1, 2)]


def test_one_that_fails_fails_alone():
    found, batches = ask([[[1.0]], [[-1.0]], [[2.0]]])
    assert batches == [1, 3, 1, 1, 1]
    assert [type(answer) for answer in found] == [dict, ValueError, dict]


def test_too_many_that_wait_are_refused():
    found, _ = ask([[[1.0]]] * 5, queue=3)
    assert [type(answer) for answer in found] == [dict] * 3 + [TooManyRequests] * 2


@pytest.mark.parametrize("most", [1, 100])
def test_one_that_is_larger_than_a_batch_is_answered_by_itself(most):
    found, _ = ask([np.ones((7, 1))], most=most)
    assert found[0]["y"].shape == (7, 1)


def test_inputs_of_several_batch_sizes_are_answered_by_themselves():
    class Scaling(Doubling):
        def __call__(self, features):
            self.batches.append((len(features["x"]), len(features["scale"])))
            time.sleep(0.05)
            return {"y": features["scale"] * features["x"]}

    signature = Scaling()
    odd = {"x": np.array([[1.0], [2.0], [3.0]]), "scale": np.array([[10.0]])}
    even = {"x": np.array([[4.0]]), "scale": np.array([[5.0]])}

    async def run():
        batcher = Batcher(100, 100)
        first = asyncio.create_task(batcher(signature, even))
        await asyncio.sleep(0.01)
        found = await asyncio.gather(*(batcher(signature, one) for one in (even, odd, odd, even)))
        await first
        batcher.close()
        return [answer["y"].ravel().tolist() for answer in found]

    assert asyncio.run(run()) == [[20.0], [10.0, 20.0, 30.0], [10.0, 20.0, 30.0], [20.0]]
    assert sorted(signature.batches) == [(1, 1), (2, 2), (3, 1), (3, 1)]
