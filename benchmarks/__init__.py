"""What an event costs: raw aiokafka, Faust's stock pass-through and the full path, on one real broker in one run."""
