"""Phases out of messages, and reports that are never late."""

from __future__ import annotations

import asyncio

import pytest
from comfy_worker import LatestReport, Worker
from comfy_worker.metrics import Device, PhaseClock, phase_of
from worker_jobs import job, simulator

SAMPLING: dict[str, object] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "random-sd15.safetensors"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["1", 1]}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 768, "height": 768, "batch_size": 1}},
    "4": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0],
            "positive": ["2", 0],
            "negative": ["2", 0],
            "latent_image": ["3", 0],
            "seed": 1,
            "steps": 4,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        },
    },
    "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "m"}},
}


@pytest.mark.parametrize(
    ("class_type", "phase"),
    [
        ("CheckpointLoaderSimple", "model_load"),
        ("UNETLoader", "model_load"),
        ("DualCLIPLoader", "model_load"),
        ("UnetLoaderGGUF", "model_load"),
        ("KSampler", "sampling"),
        ("SamplerCustomAdvanced", "sampling"),
        ("ClownsharKSampler_Beta", "sampling"),
        ("VAEDecodeTiled", "encode"),
        ("SaveImage", "encode"),
        ("VHS_VideoCombine", "encode"),
        ("LoadImage", None),
        ("CLIPTextEncode", None),
        ("KSamplerSelect", None),
        ("EmptyImage", None),
    ],
)
def test_classes_belong_to_phases(class_type: str, phase: str | None) -> None:
    assert phase_of(class_type) == phase


def test_the_wait_before_the_first_step_is_the_load_of_the_model() -> None:
    clock = PhaseClock()
    clock.executing("1", "UNETLoader", 0.0)
    clock.executing("2", "KSampler", 2.0)
    for step in range(1, 5):
        clock.step(step, 12.0 + step * 0.5)  # 10 s of loading, then 0.5 s a step
    clock.executing("3", "VAEDecode", 14.1)
    clock.executing(None, None, 15.1)
    found = [clock.milliseconds(phase) for phase in ("model_load", "sampling", "encode")]
    assert found == [12_000, 2_100, 1_000]


def test_a_sampler_of_one_step_is_all_sampling() -> None:
    clock = PhaseClock()
    clock.executing("2", "KSampler", 0.0)
    clock.step(1, 3.0)
    clock.executing(None, None, 3.0)
    assert (clock.milliseconds("model_load"), clock.milliseconds("sampling")) == (0, 3_000)


def test_the_card_is_named_as_its_driver_does_and_a_cpu_is_none() -> None:
    card = {
        "name": "cuda:0 NVIDIA H200 : cudaMallocAsync",
        "type": "cuda",
        "vram_total": 100,
        "vram_free": 30,
    }
    assert Device.from_stats({"devices": [card]}) == Device("NVIDIA H200", 70)
    assert Device.from_stats({"devices": [{"name": "cpu", "type": "cpu"}]}) == Device()
    assert Device.from_stats({}) == Device()


async def test_a_job_tells_where_its_time_went() -> None:
    async with Worker(simulator("--sim-model-load-ms", "150", "--sim-step-ms", "20")) as worker:
        workflow = SAMPLING
        running = worker.run_job(job(workflow))
        await running.outputs()
        metrics = running.metrics.to_json()
    assert metrics["bootMs"] > 0
    assert metrics["modelLoadMs"] >= 140
    assert metrics["samplingMs"] >= 40
    assert metrics["encodeMs"] > 0
    assert (metrics["queueMs"], metrics["uploadMs"]) == (None, None)


async def test_the_last_report_is_sent_though_nothing_follows_it() -> None:
    sent: list[int] = []
    done = asyncio.Event()

    async def send(report: int) -> None:
        sent.append(report)
        if report == 9:
            done.set()

    reports = LatestReport(send, 0.02)
    for number in range(10):
        reports.add(number)
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await done.wait()
    assert len(sent) < 10
    reports.add(10)
    await reports.close()
    await asyncio.sleep(0.05)
    assert 10 not in sent


async def test_a_report_that_fails_costs_only_itself() -> None:
    sent: list[int] = []
    arrived = asyncio.Event()

    async def send(report: int) -> None:
        if report == 1:
            raise ConnectionError("no store")
        sent.append(report)
        arrived.set()

    reports = LatestReport(send, 0)
    reports.add(1)
    await asyncio.sleep(0.01)
    reports.add(2)
    async with asyncio.timeout(30):
        await arrived.wait()
    await reports.close()
    assert sent == [2]
