"""docker/compose.yaml without containers: the same parts with the same settings as processes of this machine."""
