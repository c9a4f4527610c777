"""Prometheus series of the runtime, in a registry of their own (`GET /metrics`)."""

from __future__ import annotations

from collections import Counter as Tally
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
JOB_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class Metrics:
    """All series. No label ever carries text of a user, and adapter labels go when the adapter is unloaded."""

    def __init__(self) -> None:
        disable_created_metrics()
        registry = self.registry = CollectorRegistry()
        self.jobs_total = Counter("clara_runtime_jobs_total", "Jobs that ended.", ["kind", "status"], registry=registry)
        self.active_jobs = Gauge("clara_runtime_active_jobs", "Jobs running now.", registry=registry)
        self.queued_jobs = Gauge("clara_runtime_queued_jobs", "Jobs waiting for a place.", registry=registry)
        self.job_seconds = Histogram(
            "clara_runtime_job_seconds", "Run time of ended jobs.", ["kind"], buckets=JOB_SECONDS, registry=registry
        )
        self.requests_total = Counter(
            "clara_serving_requests_total", "Generation requests that ended.", ["model", "outcome"], registry=registry
        )
        self.prompt_tokens = Counter("clara_serving_prompt_tokens_total", "Prompt tokens of ended requests.", ["model"], registry=registry)
        self.generated_tokens = Counter("clara_serving_generated_tokens_total", "Tokens generated.", ["model"], registry=registry)
        self.first_token_seconds = Histogram(
            "clara_serving_first_token_seconds", "From arrival to the first token.", buckets=SECONDS, registry=registry
        )
        self.request_seconds = Histogram(
            "clara_serving_request_seconds", "From arrival to the last token.", buckets=SECONDS, registry=registry
        )
        self.batch_rows = Histogram("clara_serving_batch_rows", "Rows of each step.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry)
        self.running_requests = Gauge("clara_serving_running_requests", "Requests in the running batch.", registry=registry)
        self.waiting_requests = Gauge("clara_serving_waiting_requests", "Requests waiting for a row.", registry=registry)
        self.loaded_adapters = Gauge("clara_serving_loaded_adapters", "Adapters in memory.", registry=registry)

    def generated(self, generations: list[Any]) -> None:
        """Counts one token for each row of a step."""
        for name, count in Tally(generation.model_name for generation in generations).items():
            self.generated_tokens.labels(name).inc(count)

    def forget_model(self, name: str) -> None:
        """Removes the series of an adapter that is gone."""
        for series in (self.prompt_tokens, self.generated_tokens):
            if (name,) in series._metrics:
                series.remove(name)
        for labels in [labels for labels in self.requests_total._metrics if labels[0] == name]:
            self.requests_total.remove(*labels)

    def route(self) -> Route:
        def scrape(_request: Request) -> Response:
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

        return Route("/metrics", scrape)
