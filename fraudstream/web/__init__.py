"""The worker's web view: /predict, /health and /metrics as plain aiohttp handlers."""
