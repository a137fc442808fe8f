"""The report on serving: what was measured, in one table, and whether the targets are met."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.contenders import Contender
from benchmarks.load import Measured
from benchmarks.report import head, page, rate, ratio, table, verdict

TIMES_RIVAL = 1.5  # requests a second at the most clients
SLOWER_THAN_NAIVE_MS = 0.5  # median latency of one client
COLUMNS = ("server", "clients", "requests/s", "p50 ms", "p99 ms", "errors", "wrk cores", "ours/it")
SPREAD = (
    "Medians of the rounds, for requests/s with the least and the greatest; ratios are medians of"
    " each round's ratio."
)
SAME = (
    "* Same checkpoint, preprocessing and folded batch norms for all. Before anything was measured,"
    " each server's embedding of every image was compared with the one made in process."
)
LOAD = "Load: wrk, one thread, closed loop, on the same cores, of which it takes its share"

Runs = Mapping[tuple[str, int], Sequence[Measured]]  # (contender, clients) -> one a round


@dataclass(frozen=True)
class Findings:
    """Everything that was measured and tried.

    limits  images/s in process, one a round      tried  litserve settings -> requests/s
    """

    contenders: Sequence[Contender]
    runs: Runs
    limits: Sequence[float]
    arrangement: str
    tried: Mapping[str, float]
    seconds: int
    corpus: str

    def rates(self, name: str, clients: int) -> list[float]:
        """Requests a second, round by round."""
        return [run.requests_per_s for run in self.runs[name, clients]]

    def p50_ms(self, name: str, clients: int) -> float:
        """The median of the rounds' median latencies."""
        return median(run.p50_ms for run in self.runs[name, clients])

    @property
    def levels(self) -> list[int]:
        """The numbers of clients, ascending."""
        return sorted({clients for _, clients in self.runs})

    @property
    def errors(self) -> int:
        """Answers that were not 2xx or never came, of anyone."""
        return sum(run.errors for runs in self.runs.values() for run in runs)


def write(command: str, facts: Mapping[str, str], found: Findings) -> str:
    """The whole report as Markdown."""
    start = head("Serving on CPU: ours, a naive FastAPI endpoint, litserve", command, facts)
    figures = table(COLUMNS, rows(found))
    return page(start, conclusion(found), figures, SPREAD, targets(found), how(found))


def conclusion(found: Findings) -> str:
    """The one sentence."""
    most = found.levels[-1]
    ours = found.rates("ours", most)
    against = " and ".join(
        f"{ratio(ours, found.rates(name, most)):.1f} times {name}" for name in rivals(found)
    )
    return (
        f"**With {most} clients the service answers {median(ours):,.0f} requests/s, {against},"
        f" {ratio(ours, found.limits):.0%} of what the model does in process without HTTP.**"
    )


def rows(found: Findings) -> list[list[str]]:
    """One row a contender and number of clients, and the in-process limit."""
    written = []
    for clients in found.levels:
        for contender in found.contenders:
            runs = found.runs[contender.name, clients]
            times = ratio(found.rates("ours", clients), found.rates(contender.name, clients))
            written.append(
                [
                    contender.name,
                    str(clients),
                    rate(found.rates(contender.name, clients)),
                    f"{found.p50_ms(contender.name, clients):.2f}",
                    f"{median(run.p99_ms for run in runs):.2f}",
                    str(sum(run.errors for run in runs)),
                    f"{median(run.wrk_cores for run in runs):.2f}",
                    "" if contender.name == "ours" else f"{times:.2f}",
                ]
            )
    times = ratio(found.rates("ours", found.levels[-1]), found.limits)
    in_process = ["in process, no HTTP", "", rate(found.limits), "", "", "", "", f"{times:.2f}"]
    return [*written, in_process]


def targets(found: Findings) -> list[str]:
    """Each target with its figure."""
    most = found.levels[-1]
    ours = found.rates("ours", most)
    lines = []
    for name in rivals(found):
        times = ratio(ours, found.rates(name, most))
        held = verdict(times >= TIMES_RIVAL)
        lines.append(f"* {most} clients: {times:.2f} times {name} (at least {TIMES_RIVAL}): {held}")
    one, other = found.p50_ms("ours", 1), found.p50_ms("naive", 1)
    lines.append(
        f"* 1 client, p50: {one:.2f} ms, naive {other:.2f} ms, {one - other:+.2f} ms (at most"
        f" +{SLOWER_THAN_NAIVE_MS} ms): {verdict(one - other <= SLOWER_THAN_NAIVE_MS)}"
    )
    limit = f"the in-process limit, {rate(found.limits)} images/s"
    lines.append(f"* {most} clients: {ratio(ours, found.limits):.2f} of {limit}")
    lines.append(f"* errors of any kind, all runs: {found.errors}")
    return lines


def how(found: Findings) -> list[str]:
    """What was run, and how each server was set up."""
    most = found.levels[-1]
    wrk_cores = median(run.wrk_cores for run in found.runs["ours", most])
    turns = f"Rounds: {len(found.limits)}; at each number of clients the servers take turns"
    lines = [
        f"* {turns} of {found.seconds} s, the others stopped (SIGSTOP) meanwhile.",
        f"* Images: {found.corpus}; every request carries one, in turn.",
        SAME,
        f"* In process: {found.arrangement}; the fastest of several, measured in every round.",
        f"* {LOAD}: {wrk_cores:.2f} of a core from ours at {most} clients.",
        *(f"* {contender.name}: {contender.how}." for contender in found.contenders),
    ]
    if found.tried:
        lines.append(f"* litserve's setting is the fastest of these at {most} clients:")
        lines += [f"  * {name}: {value:,.0f} requests/s" for name, value in found.tried.items()]
    else:
        lines.append("* litserve's setting was not searched for in this quick run.")
    return lines


def rivals(found: Findings) -> list[str]:
    """The names of the others."""
    return [each.name for each in found.contenders if each.name != "ours"]
