"""What is counted, for Prometheus; each app has a registry of its own.

The four durations have the names of the Server-Timing header: decode (from body to pixels), queue
(pixels waiting for a batch), forward (the batches themselves), total (headers in to headers out).
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.jobs import Job

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The service's counters; also the batcher's observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "infomax_requests",
            "Answers, by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self._errors = Counter(
            "infomax_errors", "Errors answered, by code.", ("code",), registry=self.registry
        )
        self._images = Counter(
            "infomax_images", "Images that went through the model.", registry=self.registry
        )
        self._dropped = Counter(
            "infomax_dropped",
            "Jobs dropped before the model saw them, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self._batches = Histogram(
            "infomax_batch_images", "Images in a batch.", buckets=IMAGES, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "infomax_batch_seconds",
            "Seconds of a forward pass.",
            buckets=SECONDS,
            registry=self.registry,
        )
        durations = Histogram(
            "infomax_request_seconds",
            "Seconds of a request, by stage.",
            ("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._decode, self._queue, self._forward, self._total = (
            durations.labels(stage) for stage in ("decode", "queue", "forward", "total")
        )
        self._answered: dict[tuple[str, int], Counter] = {}

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when Prometheus asks."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def answered(self, route: str, status: int, seconds: float, job: Job | None) -> None:
        """Count an answer; the stages of its job, if the model has finished one for it."""
        key = (route, status)
        counter = self._answered.get(key)
        if counter is None:  # labels() takes longer than all the rest
            counter = self._answered[key] = self._requests.labels(route, str(status))
        counter.inc()
        if job is not None and job.missing == 0:
            self._decode.observe(job.decode_s)
            self._queue.observe(job.queue_s)
            self._forward.observe(job.forward_s)
            self._total.observe(seconds)

    def failed(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(code).inc()

    def batch(self, images: int, seconds: float) -> None:
        """Count a forward pass."""
        self._images.inc(images)
        self._batches.observe(images)
        self._batch_seconds.observe(seconds)

    def dropped(self, reason: str) -> None:
        """Count a job that was dropped in the queue."""
        self._dropped.labels(reason).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)
