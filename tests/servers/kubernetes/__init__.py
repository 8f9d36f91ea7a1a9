"""A real Kubernetes control plane on this machine, whose nodes and pods are simulated (kwok): `cluster.py` runs it.

main.go is the program of all its servers; scripts/tools.py builds it. What is real: the API with its validation,
admission (PodSecurity), RBAC, every controller, the scheduler. What is not: no container runs, so no probe is asked, no
log is written, no NetworkPolicy holds anything back, and there is no metrics API (an autoscaler keeps what it finds,
between its bounds). `stages.py` says what pods do instead.
"""
