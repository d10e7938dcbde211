"""endpoint.json to a Modal app."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ryla_modal.settings import InvalidEndpoint, Places, Settings, bearer_token, load_settings

REPOSITORY = Path(__file__).resolve().parents[3]
PLACES = Places.of(REPOSITORY)


def settings(**environ: str) -> Settings:
    return load_settings(environ, PLACES)


def test_without_an_endpoint_it_is_the_generic_app() -> None:
    assert settings().app == "ryla-comfyui"
    assert settings().auth == "modal-proxy"
    assert [node["name"] for node in settings().custom_nodes] == ["res4lyf"]


def test_an_endpoint_has_an_app_of_its_own() -> None:
    found = settings(RYLA_ENDPOINT="photo-finish")
    document = json.loads((PLACES.endpoints / "photo-finish/endpoint.json").read_text(encoding="utf-8"))
    assert found.app == "ryla-photo-finish"
    assert list(found.gpu) == document["gpu"]
    assert Settings.from_json(found.to_json()) == found


def test_containers_read_what_was_baked_in() -> None:
    baked = settings(RYLA_ENDPOINT="photo-finish").to_json()
    nowhere = Places.of(Path("/nowhere"))
    assert load_settings({"RYLA_SETTINGS": baked}, nowhere).app == "ryla-photo-finish"


def test_an_unknown_endpoint_is_told_with_those_that_exist() -> None:
    with pytest.raises(InvalidEndpoint, match="photo-finish"):
        settings(RYLA_ENDPOINT="nope")


@pytest.mark.parametrize(
    ("change", "place"), [({"gpu": "L4"}, "gpu"), ({"timeouts": {"execution": "1"}}, "execution")]
)
def test_endpoint_json_is_checked_with_the_schema(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    document = (
        json.loads((PLACES.endpoints / "photo-finish/endpoint.json").read_text(encoding="utf-8")) | change
    )
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/endpoint.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InvalidEndpoint, match=place):
        load_settings({"RYLA_ENDPOINT": "broken"}, replace(PLACES, endpoints=tmp_path))


def test_node_classes_are_known_without_a_worker_only_for_known_commits() -> None:
    known = settings().known_classes()
    assert known is not None
    assert {"SaveImage", "ClownsharKSampler_Beta"} <= known
    assert "NoSuchNode" not in known
    other = {"name": "x", "repository": "https://example.com/x", "commit": "0" * 40}
    changed = replace(settings(), custom_nodes=(other,))
    assert changed.known_classes() is None
    assert changed.catalogue_key != settings().catalogue_key


def test_bearer_needs_a_token() -> None:
    assert bearer_token("modal-proxy", {}) is None
    assert bearer_token("bearer", {"RYLA_API_TOKEN": "t"}) == "t"
    for environ in ({}, {"RYLA_API_TOKEN": ""}):
        with pytest.raises(InvalidEndpoint, match="RYLA_API_TOKEN"):
            bearer_token("bearer", environ)


def test_importing_the_app_needs_no_network_and_no_credentials(tmp_path: Path) -> None:
    """Any attempt to open a connection ends the child."""
    script = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = refuse\n"
        "import comfyui_app\n"
        "print(comfyui_app.app.name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY / "apps/modal",
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MODAL_CONFIG_PATH": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "ryla-comfyui", result.stderr
