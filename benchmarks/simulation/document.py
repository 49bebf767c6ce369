"""The video of the reference document: five shorts, 70 minutes sequentially, 30 in parallel, $3.50.

The document does not state the length of the video. Its parent task takes 10 to 30 minutes and each
child task 5 to 15, all on 16 vCPU and 64 GB. With the means of both, 20 + 5 × 10 are its 70
minutes, and 20 + 10 its 30, so these times are used. The video is simulated with the length for
which clipflow's own preparation takes the same 20 minutes on a machine without a GPU. The
comparison therefore does not depend on an assumption about the speed of transcription.
"""

from benchmarks.simulation.jobs import Video, prepare
from benchmarks.simulation.parameters import Parameters
from benchmarks.simulation.prices import Prices, cost
from benchmarks.simulation.world import SimulatedMachine, machines

SHORTS, SHORT_SECONDS = 5, 60.0
ONE_BY_ONE_MINUTES, AT_ONCE_MINUTES, USD = 70.0, 30.0, 3.50
PARENT_MINUTES, CHILD_MINUTES = 20.0, 10.0
MACHINE = SimulatedMachine("the document's", "FARGATE", 16, 64, 0)


def list_price(prices: Prices) -> float:
    """The list price, in US dollars, of the document's machines for its times. It states more."""
    busy = 60 * (PARENT_MINUTES + SHORTS * CHILD_MINUTES)
    return cost(MACHINE.used(busy), prices)


def minutes(p: Parameters) -> float:
    """The length of the video in minutes, as explained above."""
    machine = machines()["prepare"]

    def takes(minutes: float) -> float:
        return prepare(minutes, machine, p).seconds

    return (60 * PARENT_MINUTES - takes(0)) / (takes(1) - takes(0))


def video(p: Parameters, gpu: bool = False) -> Video:
    return Video(minutes(p), SHORTS, SHORT_SECONDS, gpu)
