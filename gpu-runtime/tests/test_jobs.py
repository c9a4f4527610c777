"""Jobs over HTTP with real training: their life, their events, and every way in which they or the API can end."""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import pytest
from runtime_server import Program, events_of, until

from clara_runtime.protocol import check

LONG = {"settings__epochs": 5000, "settings__max_steps": 5000}
SHORT = {"settings__max_steps": 2}


class Api:
    """A runtime that serves a model and runs at most one job at once, with the tests' data in its root."""

    def __init__(self, root: Path, *arguments: str):
        self.root = root
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        self.program = Program("api", "--root", str(self.root), "--max-jobs", "1", *arguments, token="t")
        self.program.expect("listening")
        self.client = self.program.client()

    def post(self, spec: dict, restart: bool = False):
        return self.client.post("/v1/jobs", json=spec, params={"restart": "true"} if restart else {})

    def job(self, job_id: str) -> dict:
        job = self.client.get(f"/v1/jobs/{job_id}").json()
        check("RuntimeJob", job)
        return job

    def wait(self, job_id: str, *states: str) -> dict:
        return until(lambda: (job := self.job(job_id))["status"] in states and job, f"{job_id} to be {states}")

    def wait_for_step(self, job_id: str) -> int:
        """Waits until the job's current run has done a training step; its process id."""
        return self.wait_for(job_id, "progress")

    def wait_for(self, job_id: str, kind: str) -> int:
        with self.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
            for line in response.iter_lines():
                if f'"type":"{kind}"' in line:
                    return json.loads((self.root / "jobs" / job_id / "state.json").read_text())["pid"]
        raise AssertionError(f"{job_id} ended without {kind}: {self.job(job_id)}")

    def kill(self) -> None:
        self.program.process.kill()
        self.program.process.wait()


@functools.cache
def shared_api(write_data) -> Api:
    api = Api(write_data(Path(tempfile.mkdtemp(prefix="clara-jobs-"))), "--serve-model", "tiny-base")
    atexit.register(api.kill)
    return api


@pytest.fixture()
def api(write_data):
    return shared_api(write_data)


@pytest.fixture()
def spec(make_spec, request):
    """A spec of the test's own name; `spec(**changes)`."""
    name = request.node.name.replace("test_", "")[:60].replace("[", "-").replace("]", "")

    def make(suffix: str = "", **changes) -> dict:
        return make_spec(job_id=f"{name}{suffix}", adapter_name=f"{name.lower()[:50]}{suffix}@v1", **changes)

    return make


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_needs_no_training_is_refused_at_once(api, spec):
    for bad in (
        spec(settings__epochs=0),
        spec(protocol=2),
        spec(kind="dance"),
        {**spec(), "job_id": "../x"},
        {**spec(), "base_model": 7},
        {},
    ):
        refused = api.post(bad)
        assert refused.status_code == 400 and refused.json()["error"]["clara_code"] == "spec_invalid", refused.text
    assert api.client.post("/v1/jobs", content=b"{").status_code == 400
    assert api.client.get("/v1/jobs/absent").status_code == 404
    assert api.client.get("/v1/jobs/absent/events").status_code == 404
    assert api.client.post("/v1/jobs/absent/cancel").status_code == 404
    assert api.client.get("/v1/jobs").json()["jobs"] == []


def test_a_job_goes_from_queued_to_completed_and_its_adapter_answers(api, spec):
    posted = api.post(spec())
    assert posted.status_code == 201
    job = posted.json()
    check("RuntimeJob", job)
    assert job["status"] == "queued"
    events = events_of(api.client, job["job_id"])
    for event in events:
        check("RuntimeEvent", event)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "result"
    ended = api.job(job["job_id"])
    assert ended["status"] == "completed" and ended["error"] is None and ended["last_seq"] == len(events)
    assert job["created_at"] <= ended["started_at"] <= ended["ended_at"]
    result = events[-1]["result"]
    assert result["loss_last"] < result["loss_first"]

    api.program.expect("ready")
    adapter = result["adapter_name"]
    loaded = api.client.post("/v1/load_lora_adapter", json={"lora_name": adapter, "lora_path": result["adapter_path"]})
    assert loaded.status_code == 200, loaded.text
    question = {"model": adapter, "messages": [{"role": "user", "content": "Which key opens the chapel?"}], "temperature": 0}
    said = api.client.post("/v1/chat/completions", json=question).json()["choices"][0]["message"]["content"]
    assert said == "You need key B27 for the chapel."
    assert api.client.delete(f"/v1/adapters/{adapter}").status_code == 409
    assert api.client.get("/v1/capabilities").json()["serving"]["base_model_sha256"] == result["base_model_sha256"]


def test_the_same_job_posted_again_is_the_same_job_and_another_spec_is_a_conflict(api, spec):
    assert api.post(spec(**SHORT)).status_code == 201
    again = api.post(spec(**SHORT))
    assert again.status_code == 200 and again.json()["job_id"] == spec()["job_id"]
    assert api.post(spec(settings__max_steps=3)).status_code == 409
    api.wait(spec()["job_id"], "completed")
    after = api.post(spec(**SHORT), restart=True)
    assert after.status_code == 200 and after.json()["status"] == "completed"


def test_bad_data_fails_with_its_code_and_is_not_retryable(api, spec):
    (api.root / "broken.jsonl").write_text('{"id": "x"}\n')
    api.post(spec(train_path="broken.jsonl"))
    job = api.wait(spec()["job_id"], "failed")
    assert job["error"]["code"] == "data_invalid" and job["error"]["retryable"] is False
    assert events_of(api.client, job["job_id"])[-1]["type"] == "error"


def test_a_second_job_waits_its_turn_and_one_that_waits_is_cancelled_at_once(api, spec):
    for number in "123":
        api.post(spec(number, **(LONG if number == "1" else SHORT)))
    first, second, third = (spec(number)["job_id"] for number in "123")
    api.wait_for_step(first)
    assert [api.job(job)["status"] for job in (first, second, third)] == ["running", "queued", "queued"]
    assert api.client.get("/health").json()["active_jobs"] == 1
    assert api.client.post(f"/v1/jobs/{second}/cancel").json()["status"] == "cancelled"
    assert events_of(api.client, second)[-1]["code"] == "cancelled"
    assert api.client.delete(f"/v1/jobs/{first}").status_code == 409
    api.client.post(f"/v1/jobs/{first}/cancel")
    assert api.wait(third, "completed")["started_at"] >= api.job(first)["ended_at"]
    assert api.job(second)["started_at"] is None
    assert api.client.delete(f"/v1/jobs/{second}").status_code == 204 and api.client.get(f"/v1/jobs/{second}").status_code == 404


def test_a_running_job_is_cancelled_within_two_seconds_and_can_be_started_again(api, spec):
    api.post(spec(**LONG))
    job_id = spec()["job_id"]
    pid = api.wait_for_step(job_id)
    begin = time.monotonic()
    api.client.post(f"/v1/jobs/{job_id}/cancel")
    job = api.wait(job_id, "cancelled")
    until(lambda: not alive(pid), "the trainer to be gone")
    assert time.monotonic() - begin < 2.5
    assert job["error"]["code"] == "cancelled"
    assert api.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "cancelled"
    # without being asked to, a post does not start it again; asked to, its numbers go on
    assert api.post(spec(**LONG)).json()["status"] == "cancelled"
    assert api.post(spec(**LONG), restart=True).status_code == 201
    api.wait_for_step(job_id)
    assert events_of(api.client, job_id, after=job["last_seq"], take=1)[0]["seq"] == job["last_seq"] + 1
    api.client.post(f"/v1/jobs/{job_id}/cancel")
    api.wait(job_id, "cancelled")


def test_a_trainer_that_ignores_sigterm_is_killed_with_all_that_it_started(api, spec):
    api.post(spec(**LONG))
    pid = api.wait_for_step(spec()["job_id"])
    os.kill(pid, signal.SIGSTOP)  # a stopped process handles no SIGTERM
    begin = time.monotonic()
    api.client.post(f"/v1/jobs/{spec()['job_id']}/cancel")
    assert api.wait(spec()["job_id"], "cancelled")["error"]["code"] == "cancelled"
    assert time.monotonic() - begin < 4 and not alive(pid)


def test_a_killed_trainer_fails_with_the_signals_name_and_may_be_tried_again(api, spec):
    api.post(spec(**LONG))
    os.kill(api.wait_for_step(spec()["job_id"]), signal.SIGKILL)
    job = api.wait(spec()["job_id"], "failed")
    assert (
        job["error"]["code"] in ("internal", "out_of_memory") and "SIGKILL" in job["error"]["message"] and job["error"]["retryable"] is True
    )
    assert events_of(api.client, job["job_id"])[-1]["message"] == job["error"]["message"]


def test_a_trainer_that_somebody_else_ends_is_a_failure_and_not_a_cancelled_job(api, spec):
    api.post(spec(**LONG))
    os.kill(api.wait_for_step(spec()["job_id"]), signal.SIGTERM)
    job = api.wait(spec()["job_id"], "failed")
    assert job["error"]["code"] == "internal" and "SIGTERM" in job["error"]["message"] and job["error"]["retryable"] is True


def test_events_are_followed_from_any_number_without_loss_or_repeat(api, spec):
    api.post(spec(settings__max_steps=8))
    job_id = spec()["job_id"]
    streams: list[list[dict]] = [[] for _ in range(3)]
    threads = [threading.Thread(target=lambda found=found: found.extend(events_of(api.client, job_id))) for found in streams]
    for thread in threads:
        thread.start()
    pieces: list[dict] = []
    while not pieces or pieces[-1]["type"] != "result":
        # a reader that loses its connection every three events, told by header or by query in turn
        last = pieces[-1]["seq"] if pieces else 0
        pieces += events_of(api.client, job_id, **({"header": last} if len(pieces) % 2 else {"after": last}), take=3)
    for thread in threads:
        thread.join()
    assert all(found == pieces for found in streams)
    assert [event["seq"] for event in pieces] == list(range(1, len(pieces) + 1))
    assert events_of(api.client, job_id, after=len(pieces)) == []
    for bad in ("x", "-1", "1e3", "9" * 20):
        assert api.client.get(f"/v1/jobs/{job_id}/events", params={"after": bad}).status_code == 400


def test_a_lost_fork_server_fails_its_job_and_the_next_job_runs(api, spec):
    api.post(spec("1", **LONG))
    pid = api.wait_for_step(spec("1")["job_id"])
    server = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(server, signal.SIGKILL)
    job = api.wait(spec("1")["job_id"], "failed")
    assert job["error"]["retryable"] is True
    until(lambda: not alive(pid), "the trainer to be gone")
    api.post(spec("2", **SHORT))
    assert api.wait(spec("2")["job_id"], "completed")


def test_a_job_whose_events_cannot_be_stored_is_ended_and_says_that_the_disk_is_full(api, spec):
    folder = api.root / "jobs" / spec()["job_id"]
    folder.mkdir()
    (folder / "events.jsonl").symlink_to("/dev/full")
    api.post(spec(**LONG))
    job = api.wait(spec()["job_id"], "failed")
    assert job["error"]["code"] == "disk_full" and job["error"]["retryable"] is True
    pid = json.loads((folder / "state.json").read_text())["pid"]
    until(lambda: not alive(pid), "the trainer to be gone", 5)
    assert api.client.delete(f"/v1/jobs/{job['job_id']}").status_code == 204
    api.post(spec("next", **SHORT))
    assert api.wait(spec("next")["job_id"], "completed")


def test_jobs_see_no_token_and_no_foreign_environment(api, spec):
    api.post(spec(**LONG))
    pid = api.wait_for_step(spec()["job_id"])
    names = {entry.partition(b"=")[0].decode() for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if entry}
    api.client.post(f"/v1/jobs/{spec()['job_id']}/cancel")
    assert "CLARA_RUNTIME_TOKEN" not in names and "PYTEST_CURRENT_TEST" in os.environ and "PYTEST_CURRENT_TEST" not in names
    api.wait(spec()["job_id"], "cancelled")


def test_answers_keep_coming_while_a_job_trains(api, spec):
    api.post(spec(**LONG))
    api.wait_for_step(spec()["job_id"])
    question = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
    assert api.client.post("/v1/chat/completions", json=question).json()["choices"][0]["message"]["content"] == "Hello! How can I help you?"
    api.client.post(f"/v1/jobs/{spec()['job_id']}/cancel")
    api.wait(spec()["job_id"], "cancelled")


# The last two end the shared program, and start it again without a model.


def test_an_api_killed_with_jobs_knows_them_again_and_finishes_them(api, spec):
    root = api.root
    running = spec("1", settings__max_steps=80, settings__epochs=80, checkpoint__every_steps=5)
    queued, withdrawn = spec("2", train_path="absent.jsonl"), spec("3", **SHORT)
    for job in (running, queued, withdrawn):
        api.post(job)
    api.client.post(f"/v1/jobs/{withdrawn['job_id']}/cancel")
    pid = api.wait_for(running["job_id"], "checkpoint")
    seen = events_of(api.client, running["job_id"], take=api.job(running["job_id"])["last_seq"])
    with open(root / "jobs" / running["job_id"] / "events.jsonl", "ab") as file:
        api.kill()
        until(lambda: not alive(pid), "the trainer to be gone with the API", 5)
        file.write(b'{"seq":99999,"time":1,"ty')  # as a power cut leaves it

    api.start()
    job = api.job(running["job_id"])
    assert job["status"] == "failed" and job["error"]["code"] == "internal" and job["error"]["retryable"] is True
    assert api.job(withdrawn["job_id"])["status"] == "cancelled"
    # what was queued is still queued, and then runs
    assert api.wait(queued["job_id"], "failed")["error"]["code"] == "data_invalid"
    events = events_of(api.client, running["job_id"])
    assert events[: len(seen)] == seen and [event["seq"] for event in events] == list(range(1, job["last_seq"] + 1))
    assert events[-1]["type"] == "error"
    assert api.post(running, restart=True).status_code == 201
    resumed = events_of(api.client, running["job_id"], after=job["last_seq"])
    assert resumed[0]["seq"] == job["last_seq"] + 1 and resumed[-1]["type"] == "result"
    assert resumed[-1]["result"]["resumed"] is True
    assert api.job(running["job_id"])["status"] == "completed"


def test_an_api_that_is_told_to_end_leaves_its_job_to_be_started_again(api, spec):
    api.post(spec(**LONG))
    pid = api.wait_for_step(spec()["job_id"])
    begin = time.monotonic()
    api.program.process.send_signal(signal.SIGTERM)
    assert api.program.process.wait(timeout=10) == 0
    assert time.monotonic() - begin < 3 and not alive(pid)
    api.start("--cold")
    job = api.job(spec()["job_id"])
    assert job["status"] == "failed" and job["error"]["code"] == "internal" and job["error"]["retryable"] is True
    assert api.program.close() == 0
