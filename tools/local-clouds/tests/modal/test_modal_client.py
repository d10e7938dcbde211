"""The real `modal` client against the local control plane, user code in Modal's own container runtime."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import httpx
import pytest
from modal_cloud import Cloud, running


def until(found: object, seconds: float = 20) -> None:
    """Waits for a condition that only another process can make true."""
    deadline = time.monotonic() + seconds
    while not found():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_no_container_starts_for_a_caller_without_credentials(cloud: Cloud) -> None:
    before = cloud.started("api")
    missing = cloud.web("GET", "/x", headers={})
    wrong = cloud.web("GET", "/x", headers={"Modal-Key": "wk-local", "Modal-Secret": "wrong"})
    assert (missing.status_code, wrong.status_code) == (401, 401)
    assert "missing credentials" in missing.text
    assert "invalid credentials" in wrong.text
    assert cloud.started("api") == before


def test_web_function_answers_by_label_and_path(cloud: Cloud) -> None:
    answer = cloud.web("POST", "/some/path?q=1", content=b"x" * 3_000_000)
    assert answer.json() == {"path": "/some/path", "size": 3_000_000}
    assert cloud.web("GET", "/x", label="local--nothing").status_code == 404
    port = httpx.URL(cloud.modal.web_url).port
    headers = {
        "Host": f"local--sample-api.localhost:{port}",
        "Modal-Key": "wk-local",
        "Modal-Secret": "ws-local",
    }
    assert (
        httpx.get(f"{cloud.modal.web_url}/by/host", headers=headers, follow_redirects=True).json()["path"]
        == "/by/host"
    )


def test_a_slow_answer_becomes_a_303_that_leads_to_it(cloud: Cloud) -> None:
    first = cloud.web("GET", "/slow?seconds=2.2", follow_redirects=False)
    assert first.status_code == 303
    location = first.headers["location"]
    answer = cloud.web("GET", location.partition("/_w/local--sample-api")[2])
    assert answer.json() == {"slow": True}


def test_a_stream_arrives_piece_by_piece(cloud: Cloud) -> None:
    assert cloud.web("GET", "/events").text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_class_with_hooks_secret_volume_and_parameters(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "must not be seen")
    said = json.loads(cloud.python("import json; print(json.dumps(Worker(name='n').work.remote('x')))"))
    assert said["secret"] == "hush"
    assert said["name"] == "n"
    assert said["host_variable"] is None


def test_scale_to_zero_runs_exit_hooks_and_the_next_call_starts_cold(cloud: Cloud) -> None:
    def all_gone() -> bool:
        return not any(c["function"].startswith("Worker") for c in cloud.state()["containers"])

    counts = "d = modal.Dict.from_name('sample-notes'); print(d.get('entered', 0), d.get('left', 0))"
    until(all_gone)
    entered, left = map(int, cloud.python(counts).split())
    started = cloud.started("Worker")
    for number in (1, 2):
        assert cloud.python("print(Worker().work.remote('x')['calls'])") == "1"
        assert cloud.started("Worker") == started + number
        until(all_gone)
        assert cloud.python(counts) == f"{entered + number} {left + number}"


def test_spawn_get_and_exceptions(cloud: Cloud) -> None:
    code = """
call = Worker().work.spawn('x')
print(modal.FunctionCall.from_id(call.object_id).get(timeout=20)['secret'])
try:
    Worker().work.remote('raise')
except ValueError as error:
    print(error)
try:
    Worker().sleep.spawn(30).get(timeout=0)
except TimeoutError:
    print('pending')
"""
    assert cloud.python(code).splitlines() == ["hush", "on purpose", "pending"]


def test_cancel_reaches_the_running_method(cloud: Cloud) -> None:
    code = """
import time
notes = modal.Dict.from_name('sample-notes')
notes.clear()
call = Worker().sleep.spawn(60)
while not notes.contains('sleeping'): time.sleep(0.05)
call.cancel()
deadline = time.time() + 60
while not notes.contains('canceled') and time.time() < deadline: time.sleep(0.05)
print(notes.get('canceled'))
"""
    assert cloud.python(code) == "True"


def test_the_input_of_a_container_that_dies_runs_in_another(cloud: Cloud) -> None:
    code = """
import uuid
what = f'die-{uuid.uuid4().hex}-2'
print(Worker().work.remote(what)['secret'])
print(modal.Dict.from_name('sample-notes')[what])
"""
    assert cloud.python(code).splitlines() == ["hush", "3"]


def test_map_generators_and_retries(cloud: Cloud) -> None:
    code = """
import uuid
function = lambda name: modal.Function.from_name('sample', name)
print(list(function('square').map(range(5))))
print(list(function('numbers').remote_gen(4)))
print(function('flaky').remote(uuid.uuid4().hex))
"""
    assert cloud.python(code).splitlines() == ["[0, 1, 4, 9, 16]", "[0, 1, 2, 3]", "3"]


def test_dict_and_queue(cloud: Cloud) -> None:
    code = """
d = modal.Dict.from_name('other', create_if_missing=True)
print(d.put('k', 1, skip_if_exists=True), d.put('k', 2, skip_if_exists=True), d['k'], d.len(), d.pop('k'))
q = modal.Queue.from_name('other', create_if_missing=True)
q.put_many([1, 2, 3], partition='p')
print(q.get_many(5, partition='p'), q.get(block=False, partition='p'), q.len(total=True))
"""
    assert cloud.python(code).splitlines() == ["True False 1 1 1", "[1, 2, 3] None 0"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_volume_put_ls_get_rm(cloud: Cloud, version: str) -> None:
    name = f"volume-{version}"
    content = os.urandom(9 * 1024 * 1024)
    (cloud.folder / "file.bin").write_bytes(content)
    assert cloud.client("volume", "create", name, "--version", version).returncode == 0
    put = cloud.client("volume", "put", name, "file.bin", "/models/file.bin")
    assert put.returncode == 0, put.stderr
    assert "models/file.bin" in cloud.client("volume", "ls", name, "models").stdout
    again = cloud.client("volume", "put", name, "file.bin", "/models/file.bin")
    assert again.returncode != 0
    assert cloud.client("volume", "get", name, "models/file.bin", "back.bin", "--force").returncode == 0
    assert (cloud.folder / "back.bin").read_bytes() == content
    assert cloud.client("volume", "rm", name, "models/file.bin").returncode == 0
    assert "file.bin" not in cloud.client("volume", "ls", name, "models").stdout


def test_a_volume_is_a_directory_at_its_mount_path(cloud: Cloud) -> None:
    cloud.python("Worker().write.remote('made.txt', 'hello')")
    file = cloud.folder / "state" / "volumes" / "main" / "sample-volume" / "made.txt"
    assert file.read_text() == "hello"
    assert "made.txt" in cloud.python("print(Worker().work.remote('x')['models'])")
    assert not Path("/root/models/made.txt").exists()


def test_a_missing_secret_fails_the_deployment(cloud: Cloud) -> None:
    text = (
        Path(__file__).with_name("sample_app.py").read_text().replace('"sample-secret"', '"no-such-secret"')
    )
    (cloud.folder / "broken_app.py").write_text(text)
    done = cloud.client("deploy", "broken_app.py")
    assert done.returncode != 0
    assert "Secret 'no-such-secret' not found in environment 'main'" in done.stdout + done.stderr


def test_wrong_token_is_refused(cloud: Cloud) -> None:
    done = cloud.client("app", "list", MODAL_TOKEN_SECRET="wrong")
    assert done.returncode != 0
    assert "Token" in done.stdout + done.stderr


def test_run_history_rollback_and_stop(cloud: Cloud) -> None:
    sample = str(Path(__file__).with_name("sample_app.py"))
    ran = cloud.client("run", sample, "--n", "4")
    assert "squares [0, 1, 4, 9]" in ran.stdout, ran.stderr
    assert cloud.client("deploy", sample, "--tag", "v2").returncode == 0
    assert cloud.client("app", "rollback", "sample").returncode == 0
    history = json.loads(cloud.client("app", "history", "sample", "--json").stdout)
    assert len(history) == 3
    names = {
        app["description"]: app["state"] for app in json.loads(cloud.client("app", "list", "--json").stdout)
    }
    assert names["sample"] in ("deployed", "stopped")


def test_the_recorded_deployment_can_be_read_back(cloud: Cloud) -> None:
    recorded = httpx.get(f"{cloud.modal.web_url}/_local/apps/sample").json()
    worker = next(entry for tag, entry in recorded["functions"].items() if tag.startswith("Worker"))
    assert worker["gpu"] == ["L40S", "A100-80GB"]
    assert worker["scaledownWindow"] == 2
    assert worker["secrets"] == ["sample-secret"]
    assert worker["volumes"][0]["mountPath"] == "/root/models"
    assert recorded["functions"]["api"]["proxyAuth"] is True


def test_faults(cloud: Cloud) -> None:
    cloud.fault("rpc-error=DictLen/PERMISSION_DENIED:1", "drop-web-connection:1")
    done = cloud.client("dict", "list")
    assert done.returncode == 0
    with pytest.raises(httpx.HTTPError):
        cloud.web("GET", "/x")
    assert httpx.put(f"{cloud.modal.web_url}/_local/faults", json=["nonsense"]).status_code == 400


def test_stopping_leaves_no_process(tmp_path: Path) -> None:
    pids: list[int] = []
    for made in running(tmp_path, namespaces=False):
        made.client("secret", "create", "sample-secret", "SECRET_VALUE=hush")
        made.client("deploy", str(Path(__file__).with_name("sample_app.py")))
        # Without namespaces the volume is reached through the image's own variable, rewritten.
        assert made.python("print(Worker().work.remote('x')['models'])") == "[]"
        pids += [container["pid"] for container in made.state()["containers"]]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
