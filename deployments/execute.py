"""`python -m deployments.execute`: what a machine of an ECS pool executes for its run.

It is Prefect's `flow-run execute`, without the preparation of a workspace: a second Python process
and two requests, which find out where the code of the flow is. The code is in the image.
"""

import asyncio
import sys
from typing import Any

from prefect import Flow
from prefect.cli import app, flow_run
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import load_flow
from prefect.runner._hook_runner import HookRunner
from prefect.runner._starter_engine import EngineCommandStarter


class InstalledFlowStarter(EngineCommandStarter):
    """Starts the engine for a flow that is installed, in place of Prefect's starter for others.

    `prefect flow-run execute` passes these options, uses `hook_runner`, and calls `close`.
    """

    def __init__(self, *, control_channel: Any, workspace_root: object) -> None:
        # In a process group of its own, which does not get the signals of the container.
        super().__init__(control_channel=control_channel, isolate_process_group=True)
        self.hook_runner = HookRunner(resolve_flow=_flow_of)

    def close(self) -> None:
        """Does nothing: there is no workspace to delete."""


async def _flow_of(run: FlowRun) -> Flow[Any, Any]:
    # In a thread, because importing a flow takes seconds.
    return await asyncio.to_thread(load_flow, run)


def main() -> None:
    """Executes the run that `PREFECT__FLOW_RUN_ID` names, with Prefect's exit codes."""
    vars(flow_run)["WorkspaceResolvingEngineCommandStarter"] = InstalledFlowStarter
    sys.argv = ["prefect", "flow-run", "execute"]
    app()


if __name__ == "__main__":
    main()
