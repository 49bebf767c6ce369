"""MiniStack whose EventBridge also accepts events of AWS services: `python -m tests.ecs.aws`.

PutEvents rejects a source that begins with `aws.`, as AWS does, but ECS does not use PutEvents.
"""

from ministack.app import main
from ministack.services import eventbridge

if __name__ == "__main__":
    eventbridge._put_events.__defaults__ = (True,)
    main()
