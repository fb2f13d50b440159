"""Reads notifications as the first clients do: `read_notifications.py HOST:PORT COUNT USER PRIORITY [TYPE...]`, one JSON object a line."""

import json
import sys

import grpc
import notification_seed_pb2
import notification_seed_pb2_grpc


def main(address: str, count: int, user: str, priority: int, types: list[str]) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = notification_seed_pb2_grpc.NotificationServiceStub(channel)
        request = notification_seed_pb2.SubscriptionRequest(user_id=user, priority_level=priority, event_types=types)
        stream = stub.SubscribeToNotifications(request)
        for n in stream:
            fields = dict(id=n.id, type=n.type, title=n.title, message=n.message, priority=n.priority)
            print(json.dumps({**fields, "timestamp": n.timestamp, "metadata": dict(n.metadata)}), flush=True)
            count -= 1
            if count == 0:
                stream.cancel()
                return


main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5:])
