"""What happens before a model meets live traffic: streams to learn from, fitting, judging; no Faust, no clients."""
