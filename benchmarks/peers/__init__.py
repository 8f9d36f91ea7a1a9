"""What others make of the same records: Faust as one writes it at first, Quix Streams, Bytewax, Kafka Streams.

Each file is a program of its own, as its library's documentation would have it, and knows nothing of fraudstream.
"""
