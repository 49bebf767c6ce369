"""The local stack, all of clipflow on one machine: `python -m deployments.local_stack`.

    guard ── supervisor ─┬─ aws      MiniStack, its state on disk
                         ├─ prefect  the server and its UI, on SQLite
                         ├─ worker   of the process work pools, with their flow runs
                         └─ bridge   SQS message → Prefect event

The supervisor starts the parts in this order and stops them in the opposite one. If the guard or
the supervisor is killed, the other one ends the remaining processes.
"""

from deployments.local_stack.running import RunningStack, SharedStack, running_stack, shared_stack
from deployments.local_stack.stack_settings import StackError

__all__ = ["RunningStack", "SharedStack", "StackError", "running_stack", "shared_stack"]
