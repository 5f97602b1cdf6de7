"""What a user would otherwise run: other ways to serve the same text model on the same machine.

Each module is a program of its own that serves `POST /predict` on the port it is given, or consumes
tasks; `tests.bench.rivals.compare` starts them one at a time. They share the model, its preparation and
nothing else.
"""
