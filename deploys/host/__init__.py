"""A worker host's one process: it starts a django-q2 cluster per queue, watches them, and restarts what hangs.

It is kept apart from the clusters because a cluster can hang while all its processes look alive: an idle worker killed
with the queue's read lock in its hands is enough.
"""
