"""The programs: what they announce, when they refuse to start, and how they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from runtime_server import RUNTIME, Program, until

from clara_runtime.errors import EXIT_CODES
from clara_runtime.protocol import check


def run(module: str, *arguments: str, token: str = "") -> tuple[int, list[dict], str]:
    """Runs a program that is expected to end by itself."""
    done = subprocess.run(
        [sys.executable, "-m", f"clara_runtime.{module}", *arguments],
        cwd=RUNTIME,
        env={**os.environ, "CLARA_RUNTIME_TOKEN": token},
        capture_output=True,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_health_answers_within_two_seconds_while_the_model_is_still_loading(tmp_path):
    with Program("serve", "--model", "tiny-base", "--root", str(tmp_path), token="t") as program:
        program.expect("listening")
        health = program.client().get("/health")
        took = time.monotonic() - program.started
        assert (health.status_code, health.json()["status"]) == (503, "starting")
        refused = program.client().post("/v1/chat/completions", json={"model": "base", "messages": [{"role": "user", "content": "x"}]})
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert httpx.get(f"{program.url}/v1/models").status_code == 401
        # two seconds on an idle machine; the import of Python itself is what a loaded one stretches
        assert took < 2 + 2 * sum(os.getloadavg()) / 3
        begin = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(timeout=5) == 0
        assert time.monotonic() - begin < 3


def test_a_bad_model_is_announced_with_its_code_and_exit_status(tmp_path):
    (tmp_path / "empty").mkdir()
    for module, option in (("serve", "--model"), ("api", "--serve-model")):
        for model in (str(tmp_path / "empty"), str(tmp_path / "absent"), "../x"):
            code, said, _ = run(module, option, model, "--root", str(tmp_path / "root"))
            assert said[-1]["type"] == "failed" and said[-1]["code"] == "base_model_invalid", said
            assert code == EXIT_CODES["base_model_invalid"]


def test_A15_an_address_that_others_reach_needs_a_token(tmp_path):
    code, said, errors = run("api", "--root", str(tmp_path), "--host", "0.0.0.0")
    assert code == EXIT_CODES["spec_invalid"] and said == [{"type": "failed", "code": "spec_invalid", "message": said[0]["message"]}]
    assert "CLARA_RUNTIME_TOKEN" in errors and "--insecure" in errors


def test_a_taken_port_and_a_taken_root_are_told(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said, _ = run("api", "--root", str(tmp_path), "--port", str(taken.getsockname()[1]))
        assert code == EXIT_CODES["internal"] and "cannot bind" in said[-1]["message"]
    with Program("api", "--root", str(tmp_path), "--cold") as program:
        program.expect("listening")
        program.expect("ready")
        code, said, _ = run("api", "--root", str(tmp_path), "--cold")
        assert code == EXIT_CODES["internal"] and "another runtime works on" in said[-1]["message"]


def test_the_api_ends_with_its_parents_stdin_and_leaves_no_process(tmp_path):
    with Program("api", "--root", str(tmp_path), token="t") as program:
        program.expect("listening")
        program.expect("ready")
        children = until(lambda: _children(program.process.pid), "the fork server", 10)
        begin = time.monotonic()
        assert program.close() == 0
        assert time.monotonic() - begin < 2.5
        until(lambda: not any(_alive(pid) for pid in children), "the fork server to end", 5)


def test_the_api_ends_when_the_process_that_it_was_told_to_watch_is_gone(tmp_path):
    watched = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Program("api", "--root", str(tmp_path), "--cold", "--parent-pid", str(watched.pid)) as program:
        program.expect("listening")
        program.expect("ready")
        assert program.process.poll() is None
        watched.kill()
        watched.wait()
        assert program.process.wait(timeout=5) == 0


def test_the_fork_server_does_not_outlive_a_killed_api(tmp_path):
    with Program("api", "--root", str(tmp_path)) as program:
        program.expect("listening")
        children = until(lambda: _children(program.process.pid), "the fork server", 10)
        program.process.kill()
        program.process.wait()
        until(lambda: not any(_alive(pid) for pid in children), "the fork server to end", 5)


def test_the_api_tells_what_it_can_do_in_the_agreed_form(tmp_path):
    with Program("api", "--root", str(tmp_path), "--cold", token="t") as program:
        program.expect("listening")
        program.expect("ready")
        client = program.client()
        capabilities = client.get("/v1/capabilities").json()
        check("RuntimeCapabilities", capabilities)
        assert capabilities["serving"] is None and "lora" in capabilities["trainers"] and capabilities["versions"]["torch"]
        assert client.get("/health").json() == {
            "status": "ok",
            "version": capabilities["version"],
            "active_jobs": 0,
            "max_concurrent_jobs": 2,
        }
        assert "clara_runtime_active_jobs 0.0" in client.get("/metrics").text
        assert client.get("/v1/models").status_code == 404
        # the token is in no place that another program of this user could read
        assert b"CLARA_RUNTIME_TOKEN=t" not in b"".join(_environment(pid) for pid in _children(program.process.pid))


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def _environment(pid: int) -> bytes:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read()


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
