"""Forwards `Begin Clip Generation` events from the SQS queue to the Prefect server.

    queue ──> in flight ──> POST /events ──> /events/filter has it ──> deleted from the queue
                  └─ rejected ──> dead-letter queue ─────────────────> deleted from the queue

The server answers a POST with 204 before it stores anything, so a message is deleted only when the
server returns the event for its id. Nothing is received while the server is away, so an outage uses
up no receives; what is in flight stays invisible and is posted again after it.
"""
