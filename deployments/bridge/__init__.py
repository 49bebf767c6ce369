"""Forwards `Begin Clip Generation` events from the SQS queue to the Prefect server.

    queue ──> in flight ──> POST /events ──> /events/filter has it ──> deleted from the queue
                  └─ rejected ──> dead-letter queue ─────────────────> deleted from the queue

The server answers a POST with 204 before it stores the event, so a message is deleted only when the
server returns the event by its id. Nothing is received while the server is unreachable, so an
outage does not increase receive counts. Messages in flight stay invisible during an outage and are
posted again after it.
"""
