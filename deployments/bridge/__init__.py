"""Carries `Begin Clip Generation` events from the SQS queue to the Prefect server.

    queue ──> in hand ──> POST /events ──> /events/filter has it ──> deleted from the queue
                 └─ poison ──> dead-letter queue ──────────────────> deleted from the queue

The server answers a POST with 204 before it stores anything, so a message is deleted only when the
server, asked for the event by its id, has it. Nothing is received while the server is away, so an
outage uses up no receives; what is in hand is kept invisible and posted again when it is back.
"""
