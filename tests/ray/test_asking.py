"""An actor that does not answer ends the wait for it with an error that says who it was."""

import time
from typing import cast

import pytest
import ray
from ray.actor import ActorHandle

from pipeline.errors import NoAnswer
from pipeline.runtime.asking import asked

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_silent_actor_is_named_and_an_answer_comes_through() -> None:
    class Sleeper:  # in here, as workers cannot import this file
        def answer(self, seconds: float) -> str:
            time.sleep(seconds)
            return "awake"

    sleeper = cast(ActorHandle, ray.remote(Sleeper).options(num_cpus=0, max_concurrency=2).remote())
    assert asked(sleeper.answer.remote(0), "the sleeper") == "awake"
    with pytest.raises(NoAnswer, match="got no answer from the sleeper, expected one within 0 s"):
        asked(sleeper.answer.remote(60), "the sleeper", 0.2)
    ray.kill(sleeper)
