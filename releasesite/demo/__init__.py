"""The demo behind `make run`: a real service, its packages, their host, and the processes of the system itself."""
