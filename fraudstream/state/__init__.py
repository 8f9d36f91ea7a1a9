"""A user's rolling state: the profile record, how an event is packed into it, and its exact event-time windows."""
