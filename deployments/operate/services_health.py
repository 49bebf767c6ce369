"""`python -m deployments.operate.services_health SECONDS`: the health check of Prefect's services.

The background services of a Prefect server have no port. Their process is a worker of Docket, which
writes the time to Redis every two seconds, in the event loop that all services share. The exit code
is 1 if this machine has not done so for some seconds. The module imports no Prefect, because ECS
runs it every half minute.
"""

import os
import socket
import sys
import time

from redis import Redis, RedisError

# A sorted set of Docket: the name of each worker, with the time of its last heartbeat. "prefect" is
# the name that `prefect server services start` (3.8) uses.
_WORKERS = "prefect:workers"


def main(longest: float) -> int:
    """Prints what is wrong, and returns the exit code."""
    try:
        with Redis.from_url(os.environ["PREFECT_SERVER_DOCKET_URL"], socket_timeout=3) as redis:
            workers = redis.zrange(_WORKERS, 0, -1, withscores=True)
    except RedisError as error:
        print(f"Redis does not answer: {error}")
        return 1
    here = f"{socket.gethostname()}#".encode()
    silent = time.time() - max((at for name, at in workers if name.startswith(here)), default=0.0)
    if silent > longest:
        print(f"The background services last reported {silent:.0f} s ago.")
    return int(silent > longest)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
