"""A MiniStack whose PutEvents also accepts events of AWS services: `python -m tests.ecs.aws`.

As in AWS, PutEvents rejects sources that begin with `aws.`. The simulated ECS needs it, because it
has no other way to send its events.
"""

from ministack.app import main
from ministack.services import eventbridge

if __name__ == "__main__":
    eventbridge._put_events.__defaults__ = (True,)
    main()
