"""Benchmarks of the worker on this machine: `python -m comfy_worker.bench coldstart --help`."""
