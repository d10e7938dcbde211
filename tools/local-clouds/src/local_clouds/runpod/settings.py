"""What may be turned about a local RunPod, for tests that cannot wait half an hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from . import constants
from .constants import OPERATION_LIMITS, OperationLimit


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds; the defaults are RunPod's own (see constants)."""

    run_retention: float = constants.RUN_RETENTION
    runsync_retention: float = constants.RUNSYNC_RETENTION
    webhook_retry_delay: float = constants.WEBHOOK_RETRY_DELAY
    execution_timeout_range: tuple[float, float] = constants.EXECUTION_TIMEOUT_RANGE
    ttl_range: tuple[float, float] = constants.TTL_RANGE
    result_bytes: int = constants.RESULT_BYTES
    max_retries: int = constants.MAX_RETRIES
    stop_grace: float = constants.STOP_GRACE
    terminate_grace: float = constants.TERMINATE_GRACE
    long_poll: float = constants.LONG_POLL
    start_backoff: float = constants.START_BACKOFF
    limits: Mapping[str, OperationLimit] = field(default_factory=lambda: OPERATION_LIMITS)

    def compressed(self, factor: float) -> Settings:
        """The same with retention, webhook pauses and the lower bounds of policies `factor` times shorter."""
        return replace(
            self,
            run_retention=self.run_retention / factor,
            runsync_retention=self.runsync_retention / factor,
            webhook_retry_delay=self.webhook_retry_delay / factor,
            execution_timeout_range=(
                self.execution_timeout_range[0] / factor,
                self.execution_timeout_range[1],
            ),
            ttl_range=(self.ttl_range[0] / factor, self.ttl_range[1]),
        )
