"""MiniStack, whose EventBridge also takes what AWS's own services say: `python -m tests.ecs.aws`.

PutEvents refuses a source that begins with `aws.`, as it must; ECS does not come in by that door.
"""

from ministack.app import main
from ministack.services import eventbridge

if __name__ == "__main__":
    eventbridge._put_events.__defaults__ = (True,)
    main()
